"""Who is asking: a token, or a person signed in to the pages, made into a `Principal`."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
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
from omarino.errors import IdentityUnavailable, TenantMismatch
from omarino.permissions import ROLES

TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_TOKEN_BYTES = 8192
KEYS_FRESH_S = 300.0
REFETCH_WAIT_S = 60.0
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
        structlog.contextvars.bind_contextvars(tenant_id=principal.tenant_id)
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
        roles = ROLES if user.is_superuser else frozenset(user.groups.values_list("name", flat=True)) & ROLES
        principal = Principal(user.subject or f"user:{user.pk}", user.tenant_id, roles, user.get_username())
        if not principal.tenant_id:
            raise AuthenticationFailed("Your account belongs to no tenant. Ask an administrator to set it.")
        check_named_tenant(request, principal)
        return user, principal


def check_named_tenant(request: Request, principal: Principal) -> None:
    """A tenant in a header or in the query must be the token's."""
    for where, named in (
        ("X-Tenant-ID", request.headers.get("X-Tenant-ID")),
        ("the query", request.query_params.get("tenant_id")),
    ):
        if named and named != principal.tenant_id:
            raise TenantMismatch(where=where)


def principal_of(token: str) -> Principal:
    """The principal a token proves, or 401."""
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise AuthenticationFailed("The token is empty or too long.")
    claims = _verified_claims(token)
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
    except jwt.InvalidTokenError as fault:
        raise AuthenticationFailed(f"The token is not valid: {fault}.") from fault
    audiences = claims.get("aud")
    named = [audiences] if isinstance(audiences, str) else audiences if isinstance(audiences, list) else []
    if settings.KEYCLOAK_CLIENT_ID not in [*named, claims.get("azp")]:
        raise AuthenticationFailed(f"The token is not meant for {settings.KEYCLOAK_CLIENT_ID}.")
    if claims.get("typ") in NOT_ACCESS_TOKENS:
        raise AuthenticationFailed("This is not an access token.")
    return claims


class Keys:
    """The issuer's public keys: kept, fetched again when old or when a new `kid` appears, never too often."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str | None, Any] = {}
        self._fetched_at = self._tried_at = -float("inf")

    def key(self, kid: str | None) -> Any:
        """The key of this id, or 401; with no key at all and no issuer to ask, 503."""
        now = time.monotonic()
        stale = now - self._fetched_at > KEYS_FRESH_S or kid not in self._keys
        if stale and (not self._keys or now - self._tried_at > REFETCH_WAIT_S):
            self._refresh(now)
        try:
            return self._keys[kid]
        except KeyError:
            raise AuthenticationFailed("The token is signed by an unknown key.") from None

    def warm(self) -> None:
        """Have at least one key, or `IdentityUnavailable`."""
        if not self._keys:
            self._refresh(time.monotonic())

    def forget(self) -> None:
        """Start cold, as a new process does."""
        self.__init__()  # type: ignore[misc]

    def _refresh(self, now: float) -> None:
        with self._lock:
            if self._tried_at >= now:
                return  # another thread was faster
            self._tried_at = time.monotonic()
            try:
                found = _fetch_keys()
            except (jwt.PyJWKClientError, urllib.error.URLError, ValueError, TimeoutError) as fault:
                log.error("jwks_unavailable", url=settings.JWKS_URL, error=str(fault))
                if not self._keys:
                    raise IdentityUnavailable() from fault
                return
            self._keys, self._fetched_at = found, self._tried_at


def _fetch_keys() -> dict[str | None, Any]:
    if settings.DEVELOPMENT_ISSUER:
        key = development_key().public_key()
        return {DEVELOPMENT_KID: key}
    document = jwt.PyJWKClient(settings.JWKS_URL, cache_jwk_set=False, timeout=3).fetch_data()
    found: dict[str | None, Any] = {}
    for entry in document.get("keys", []):
        if entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
            continue
        try:
            found[entry.get("kid")] = jwt.PyJWK(entry, algorithm=settings.JWT_ALGORITHM).key
        except jwt.PyJWTError as fault:
            log.warning("jwk_unusable", kid=entry.get("kid"), error=str(fault))
    if not found:
        raise ValueError("the issuer publishes no signing key")
    return found


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
