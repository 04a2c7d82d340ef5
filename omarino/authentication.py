"""Who is asking: a token, or a person signed in to the pages, made into a `Principal`."""

from __future__ import annotations

import http.client
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import jwt
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from omarino.embedded import write_private
from omarino.errors import IdentityUnavailable, MalformedBody, TenantMismatch
from omarino.permissions import ROLES
from omarino.strict_json import parse_json

TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_TOKEN_BYTES = 8192
MAX_SUBJECT_LENGTH = 255
KEYS_FRESH_S = 300.0
REFETCH_WAIT_S = 60.0  # with keys at hand
COLD_REFETCH_WAIT_S = 2.0  # without any, when every request fails
JWKS_TIMEOUT_S = 3.0
MAX_JWKS_BYTES = 262_144
MIN_RSA_BITS = 2048
NOT_ACCESS_TOKENS = frozenset({"ID", "Refresh", "Offline", "Logout"})  # Keycloak's `typ` claim of the others
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, for which tenant, in which roles."""

    subject: str
    tenant_id: str
    roles: frozenset[str]
    username: str

    is_authenticated = True  # DRF asks its `user` this
    is_active = True

    def get_username(self) -> str:
        return self.username

    def __str__(self) -> str:
        return self.username


def principal(request: Request) -> Principal:
    """Who asks; only for views behind a permission, which have let somebody in."""
    return cast(Principal, request.auth)


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <JWT>`, checked as RFC 8725 asks: one algorithm, our issuer, our audience."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        principal = principal_of(token.strip())
        check_named_tenant(request, principal)
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="{settings.SERVICE_NAME}"'


class SignedInAuthentication(SessionAuthentication):
    """A person of the pages: the groups are the roles. CSRF is checked, as for every cookie."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user = found[0]
        subject = user.subject or f"user:{user.pk}"
        principal = Principal(subject, user.tenant_id, user.roles, user.get_username())
        if not principal.tenant_id:
            raise AuthenticationFailed("Your account belongs to no tenant. Ask an administrator to set it.")
        check_named_tenant(request, principal)
        return user, principal


def check_named_tenant(request: Request, principal: Principal) -> None:
    """A tenant in a header or in the query, every time it stands there, must be the token's."""
    header = request.headers.get("X-Tenant-ID")
    if header and header != principal.tenant_id:
        raise TenantMismatch(where="X-Tenant-ID")
    if any(named and named != principal.tenant_id for named in request.query_params.getlist("tenant_id")):
        raise TenantMismatch(where="the query")
    structlog.contextvars.bind_contextvars(tenant_id=principal.tenant_id)


def principal_of(token: str) -> Principal:
    """The principal a token proves, or 401."""
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise AuthenticationFailed("The token is empty or too long.")
    claims = _verified_claims(token)
    if not 0 < len(claims["sub"]) <= MAX_SUBJECT_LENGTH:
        raise AuthenticationFailed("The token's claim sub is empty or too long.")
    tenant_id = claims.get("tenant_id")
    if not isinstance(tenant_id, str) or not TENANT_ID.fullmatch(tenant_id):
        raise AuthenticationFailed("The token names no tenant: the claim tenant_id is missing or malformed.")
    access = claims.get("realm_access")
    roles = access.get("roles") if isinstance(access, dict) else None
    named = {role for role in roles if isinstance(role, str)} if isinstance(roles, list) else set()
    username = claims.get("preferred_username")
    return Principal(
        subject=claims["sub"],
        tenant_id=tenant_id,
        roles=ROLES & named,
        username=username if isinstance(username, str) else claims["sub"],
    )


def _verified_claims(token: str) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != settings.JWT_ALGORITHM:
            raise AuthenticationFailed(f"The token must be signed by {settings.JWT_ALGORITHM}.")
        if unwanted := sorted({"jku", "x5u", "jwk", "x5c", "crit"} & set(header)):
            raise AuthenticationFailed(f"The token's header names {', '.join(unwanted)}, which is refused.")
        claims: dict[str, Any] = jwt.decode(
            token,
            KEYS.key(header.get("kid")),
            algorithms=[settings.JWT_ALGORITHM],
            issuer=settings.JWT_ISSUER,
            leeway=settings.JWT_LEEWAY,
            options={
                "require": ["exp", "iat", "sub", "iss"],
                "verify_aud": False,
                "enforce_minimum_key_length": True,
            },
        )
    except jwt.ExpiredSignatureError as fault:
        raise AuthenticationFailed("The token has expired. Fetch a new one.") from fault
    except jwt.PyJWTError as fault:
        raise AuthenticationFailed(f"The token is not valid: {str(fault).rstrip('.')}.") from fault
    except RecursionError as fault:  # a header of brackets
        raise AuthenticationFailed("The token is not valid: it cannot be read.") from fault
    audiences = claims.get("aud")
    named = [audiences] if isinstance(audiences, str) else audiences if isinstance(audiences, list) else []
    if settings.KEYCLOAK_CLIENT_ID not in [*named, claims.get("azp")]:
        raise AuthenticationFailed(f"The token is not meant for {settings.KEYCLOAK_CLIENT_ID}.")
    if claims.get("typ") in NOT_ACCESS_TOKENS:
        raise AuthenticationFailed("This is not an access token.")
    return claims


class Keys:
    """The issuer's public keys: kept, fetched again when old or when a new `kid` appears, never too often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str | None, Any] = {}
        self._fetched_at = self._tried_at = -float("inf")

    def key(self, kid: str | None) -> Any:
        """The key of this id, or 401; with no key at all and no issuer to ask, 503."""
        known = kid in self._keys
        if not known or self._clock() - self._fetched_at > KEYS_FRESH_S:
            self._refresh(wait=not known)
        try:
            return self._keys[kid]
        except KeyError:
            raise AuthenticationFailed("The token is signed by an unknown key.") from None

    def warm(self) -> None:
        """Have at least one key, or `IdentityUnavailable`."""
        if not self._keys:
            self._refresh(wait=True)

    def forget(self) -> None:
        """Start cold, as a new process does."""
        self.__init__(self._clock)  # type: ignore[misc]

    def _refresh(self, *, wait: bool) -> None:
        """Ask the issuer, one thread at a time; who holds a good key goes on with it meanwhile."""
        if not self._lock.acquire(blocking=wait):
            return
        try:
            pause = REFETCH_WAIT_S if self._keys else COLD_REFETCH_WAIT_S
            if self._clock() - self._tried_at > pause:
                self._fetch()
            if not self._keys:
                raise IdentityUnavailable()
        finally:
            self._lock.release()

    def _fetch(self) -> None:
        try:
            self._keys = _fetch_keys()
            self._fetched_at = self._clock()
        except (OSError, http.client.HTTPException, ValueError, MalformedBody) as fault:
            log.error("jwks_unavailable", url=settings.JWKS_URL, error=str(fault))
        finally:
            self._tried_at = self._clock()


def _fetch_keys() -> dict[str | None, Any]:
    if settings.DEVELOPMENT_ISSUER:
        return {DEVELOPMENT_KID: development_key().public_key()}
    document = parse_json(_download(settings.JWKS_URL))
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the issuer's answer is no set of keys")
    found: dict[str | None, Any] = {}
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


KEYS = Keys()

# The development issuer: only without Keycloak, only in development

DEVELOPMENT_KID = "development"


def development_key() -> rsa.RSAPrivateKey:
    """The key that signs development tokens, made on first use."""
    path = Path(settings.DATA_DIR) / "development_issuer.pem"
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


def development_token(
    *, tenant_id: str, roles: frozenset[str], ttl: timedelta, claims: dict[str, Any] | None = None
) -> str:
    """A Keycloak-shaped token. `claims` replaces claims; None as a value removes one."""
    now = timezone.now()
    payload: dict[str, Any] = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.KEYCLOAK_CLIENT_ID,
        "azp": settings.KEYCLOAK_CLIENT_ID,
        "sub": f"development:{tenant_id}",
        "typ": "Bearer",
        "iat": now,
        "nbf": now,
        "exp": now + ttl,
        "tenant_id": tenant_id,
        "preferred_username": "developer",
        "realm_access": {"roles": sorted(roles)},
        **(claims or {}),
    }
    kept = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(kept, development_key(), algorithm="RS256", headers={"kid": DEVELOPMENT_KID})
