"""Who signs in to the pages is kept in the audit, whichever way they came."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest

from omarino import audit
from omarino.models import User


@receiver(user_logged_in)
def keep_signing_in(request: HttpRequest | None, user: User, **_: Any) -> None:
    if request is not None:  # a test, or a command, may sign somebody in without one
        audit.record(user.tenant_id, "signed_in", "person", user.pk)
