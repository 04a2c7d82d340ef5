"""The issuer's public keys: kept in this process, shared with all others through Valkey.

A key nobody knows makes one process ask the issuer, at most once a minute for all of them; the others take over what it
was told. While the issuer is away, whoever knows its keys goes on, a process that starts then among them. Without
Valkey each process asks for itself.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.core.signing import BadSignature, Signer
from rest_framework.exceptions import AuthenticationFailed

from omarino.embedded import write_private
from omarino.errors import IdentityUnavailable, MalformedBody
from omarino.strict_json import parse_json
from omarino.valkey import Door

FRESH_S = 300.0
REFETCH_WAIT_S = 60  # with keys at hand
COLD_REFETCH_WAIT_S = 2  # without any, when every request fails
SHARED_FOR_S = 86_400  # for processes that start while the issuer is away
JWKS_TIMEOUT_S = 3.0
ASKING_S = 8  # longer than an answer takes; who died asking holds up nobody longer
MAX_JWKS_BYTES = 262_144
MIN_RSA_BITS = 2048
NEVER = -float("inf")
Found = dict[str | None, Any]
log = structlog.get_logger(__name__)


class Keys:
    """What one process knows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Found = {}
        self._text = ""
        self._fetched_at = NEVER
        self._quiet_until = NEVER

    def key(self, kid: str | None) -> Any:
        """The key of this id, or 401; with no key at all and no issuer to ask, 503."""
        if not self._is_good(kid):
            self._refresh(kid)
        try:
            return self._keys[kid]
        except KeyError:
            raise AuthenticationFailed("The token is signed by an unknown key.") from None

    def warm(self) -> None:
        """Have at least one key, or `IdentityUnavailable`."""
        if not self._keys:
            self._refresh(None)

    def forget(self) -> None:
        """Start cold, as a new process does."""
        self.__init__(self._clock)  # type: ignore[misc]
        SHARED.door.forget()

    def _is_good(self, kid: str | None) -> bool:
        return kid in self._keys and self._clock() - self._fetched_at <= FRESH_S

    def _refresh(self, kid: str | None) -> None:
        """Learn anew, one thread at a time; who holds a key that is merely old goes on with it meanwhile."""
        if not self._lock.acquire(blocking=kid not in self._keys):
            return
        try:
            if not self._is_good(kid):
                self._learn(kid)
            if not self._keys:
                raise IdentityUnavailable()
        finally:
            self._lock.release()

    def _learn(self, kid: str | None) -> None:
        if settings.DEVELOPMENT_ISSUER:
            self._keys, self._fetched_at = {DEVELOPMENT_KID: development_key().public_key()}, self._clock()
            return
        if kid in self._keys and self._clock() < self._quiet_until:
            return
        self._take_over()
        if self._is_good(kid) or self._clock() < self._quiet_until:
            return
        is_cold = not self._keys
        if SHARED.may_ask(is_cold=is_cold, patient=kid not in self._keys):
            was_told = self._ask_the_issuer(is_cold=is_cold)
            pause = COLD_REFETCH_WAIT_S if is_cold and not was_told else REFETCH_WAIT_S
        else:
            self._take_over()
            pause = COLD_REFETCH_WAIT_S
        self._quiet_until = self._clock() + pause

    def _take_over(self) -> None:
        """What another process was told since."""
        shared = SHARED.read()
        if shared is None:
            return
        text, age_s = shared
        try:
            if text != self._text:
                self._keys, self._text = keys_in(text), text
            self._fetched_at = max(self._fetched_at, self._clock() - age_s)
        except (ValueError, MalformedBody) as fault:
            log.warning("shared_jwks_unusable", error=str(fault))

    def _ask_the_issuer(self, *, is_cold: bool) -> bool:
        """Whether it told us its keys."""
        try:
            text = _download(settings.JWKS_URL).decode()
            self._keys, self._text = keys_in(text), text
        except (OSError, http.client.HTTPException, ValueError, MalformedBody) as fault:
            log.error("jwks_unavailable", url=settings.JWKS_URL, error=str(fault))
            SHARED.say_it_failed(is_cold=is_cold)
            return False
        self._fetched_at = self._clock()
        SHARED.publish(text)
        return True


class _Shared:
    """What all processes know of the issuer: its last answer and when it came, by Valkey's clock; whether somebody asks
    it just now, or asked within the minute; none of it lasts longer because that clock was set back. The answer is
    signed with SECRET_KEY: Valkey alone makes no keys."""

    def __init__(self) -> None:
        self.door = Door("keys of the issuer")

    def read(self) -> tuple[str, float] | None:
        """The answer and its age in seconds."""

        def question(valkey: Any) -> Any:
            return valkey.pipeline().get(_name("answer")).pttl(_name("answer")).execute()

        text, left_ms = self.door.ask(question) or (None, 0)
        self._fit_to_clock(_name("answer"), left_ms, SHARED_FOR_S)
        if text is None:
            return None
        try:
            return _signer().unsign(text.decode()), max(SHARED_FOR_S - left_ms / 1000, 0.0)
        except (BadSignature, UnicodeDecodeError) as fault:
            log.warning("shared_jwks_unusable", error=str(fault)[:200])
            return None

    def may_ask(self, *, is_cold: bool, patient: bool) -> bool:
        """Whether this process is to ask; when another just does, who is patient waits for the end of that."""
        name = _name("cold" if is_cold else "asked")

        def question(valkey: Any) -> Any:
            return valkey.pipeline().set(name, "asking", nx=True, ex=ASKING_S).pttl(name).execute()

        is_ours, left_ms = self.door.ask(question) or (True, 0)
        if is_ours:
            return True  # alone, or no Valkey to agree by
        self._fit_to_clock(name, left_ms, REFETCH_WAIT_S)
        deadline = time.monotonic() + (ASKING_S if patient else 0)
        while time.monotonic() < deadline and self.door.ask(lambda valkey: valkey.get(name)) == b"asking":
            time.sleep(0.05)
        return False

    def _fit_to_clock(self, name: str, left_ms: int, most_s: int) -> None:
        """Of something that would last longer than it was given: the clock was set back."""
        if left_ms > most_s * 1000:
            self.door.ask(lambda valkey: [valkey.expire(name, most_s)])

    def publish(self, text: str) -> None:
        def question(valkey: Any) -> Any:
            told = valkey.pipeline()
            told.set(_name("answer"), _signer().sign(text), ex=SHARED_FOR_S)
            told.set(_name("asked"), "done", ex=REFETCH_WAIT_S)
            return told.set(_name("cold"), "done", ex=COLD_REFETCH_WAIT_S).execute()

        self.door.ask(question)

    def say_it_failed(self, *, is_cold: bool) -> None:
        name, wait_s = ("cold", COLD_REFETCH_WAIT_S) if is_cold else ("asked", REFETCH_WAIT_S)
        self.door.ask(lambda valkey: valkey.set(_name(name), "failed", ex=wait_s))


def _name(what: str) -> str:
    issuer = hashlib.blake2b(settings.JWKS_URL.encode(), digest_size=12).hexdigest()
    return f"omarino:jwks:{issuer}:{what}"


def _signer() -> Signer:
    return Signer(salt=f"omarino.jwks:{settings.JWKS_URL}")


def keys_in(text: str) -> Found:
    """The signing keys of a JWKS by their id; ValueError or MalformedBody when it holds none."""
    document = parse_json(text.encode())
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the issuer's answer is no set of keys")
    found: Found = {}
    for entry in entries:
        try:
            if _is_signing_key(entry):
                found[entry.get("kid")] = _usable_key(entry)
        except (jwt.PyJWTError, ValueError, TypeError) as fault:
            log.warning("jwk_unusable", kid=str(entry.get("kid"))[:100], error=str(fault))
    if not found:
        raise ValueError("the issuer publishes no signing key for this algorithm")
    return found


def _is_signing_key(entry: Any) -> bool:
    """Whether this JWK is there for signatures by our algorithm."""
    return (
        isinstance(entry, dict)
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", settings.JWT_ALGORITHM) == settings.JWT_ALGORITHM
        and entry.get("kty") == ("RSA" if settings.JWT_ALGORITHM == "RS256" else "EC")
        and isinstance(entry.get("kid"), str | None)
    )


def _usable_key(entry: dict[str, Any]) -> Any:
    key = jwt.PyJWK(entry, algorithm=settings.JWT_ALGORITHM).key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key of {key.key_size} bits is too short")
    return key


def _download(url: str) -> bytes:
    """A small document, soon: a server that drips or floods does not hold our threads."""
    deadline = time.monotonic() + JWKS_TIMEOUT_S
    body = bytearray()
    with urllib.request.urlopen(url, timeout=JWKS_TIMEOUT_S) as answer:  # noqa: S310  http(s) only, by settings
        while chunk := answer.read1(65_536):
            body += chunk
            if len(body) > MAX_JWKS_BYTES:
                raise ValueError(f"{url} answers more than {MAX_JWKS_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} takes longer than {JWKS_TIMEOUT_S} s")
    return bytes(body)


SHARED = _Shared()
KEYS = Keys()

# The development issuer: only without Keycloak, only in development

DEVELOPMENT_KID = "development"


def development_key() -> rsa.RSAPrivateKey:
    """The key that signs development tokens, made on first use."""
    path = settings.DATA_DIR / "development_issuer.pem"
    if not path.exists():
        fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = fresh.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem.decode())
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path} does not hold an RSA key; remove it and a new one is made.")
    return key
