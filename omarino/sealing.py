"""Secrets that must be read again, such as those that sign webhooks, sealed so that a copy of the database alone does
not tell them.

By Fernet (AES-128 in CBC mode with HMAC-SHA256, of `cryptography`) under a key derived from SECRET_KEY. What an older
key sealed is read as long as that key stands in SECRET_KEY_FALLBACKS; `manage.py reseal_secrets` moves it to the newest.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.apps import apps
from django.conf import settings
from django.db import models

PURPOSE = b"omarino.sealing.1"  # so that no other use of SECRET_KEY comes to the same key


class SealBroken(Exception):
    """Sealed by a key that is not known here, or changed since. Its text is shown to people."""

    def __init__(self) -> None:
        super().__init__("The secret cannot be read: its SECRET_KEY is not in SECRET_KEY_FALLBACKS.")


class SealedField(models.TextField):  # type: ignore[type-arg]
    """Holds a sealed text. The tenant's export leaves it out, and `reseal_secrets` finds it by its type."""


def seal(text: str) -> str:
    return _keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises SealBroken."""
    try:
        return _keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS).decrypt(sealed.encode()).decode()
    except InvalidToken as fault:
        raise SealBroken from fault


def is_under_the_newest_key(sealed: str) -> bool:
    try:
        _key(settings.SECRET_KEY).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def sealed_fields() -> Iterator[tuple[type[models.Model], SealedField]]:
    """Wherever the apps keep something sealed."""
    for model in apps.get_models():
        yield from ((model, field) for field in model._meta.local_fields if isinstance(field, SealedField))


@lru_cache(maxsize=8)
def _keys(*secrets: str) -> MultiFernet:
    """The first one seals."""
    return MultiFernet([_key(secret) for secret in secrets])


@lru_cache(maxsize=8)
def _key(secret: str) -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
