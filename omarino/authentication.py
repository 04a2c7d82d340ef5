"""Who is asking: a token, or a person signed in to the pages, made into a `Principal`."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import jwt
import structlog
from django.conf import settings
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from omarino.asking import entered
from omarino.errors import MalformedBody, TenantMismatch
from omarino.keys import DEVELOPMENT_KID, KEYS, development_key
from omarino.permissions import ROLES
from omarino.strict_json import parse_json

TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_TOKEN_BYTES = 8192
MAX_SUBJECT_LENGTH = 255
REQUIRED_CLAIMS = ["exp", "iat", "sub", "iss"]
TIMES = ("exp", "iat", "nbf")  # RFC 7519: numbers; PyJWT takes them as texts too
REFUSED_HEADERS = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "cty", "enc", "zip", "b64"})
ACCESS_TOKEN_TYPE = re.compile(r"(application/)?at\+jwt", re.IGNORECASE)  # RFC 9068
ANY_TYPE = re.compile(rf"jwt|{ACCESS_TOKEN_TYPE.pattern}", re.IGNORECASE)


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
        user = getattr(request._request, "user", None)
        if not user or not user.is_active:
            return None
        subject = user.subject or f"user:{user.pk}"
        principal = Principal(subject, user.tenant_id, user.roles, user.get_username())
        if not principal.tenant_id:
            raise AuthenticationFailed("Your account belongs to no tenant. Ask an administrator to set it.")
        check_named_tenant(request, principal)
        self.enforce_csrf(request)  # last: who fails it is known, so that it costs of his budget
        return user, principal


def check_named_tenant(request: Request, principal: Principal) -> None:
    """A tenant in a header or in the query, every time it stands there, must be the token's."""
    entered(request._request, principal)
    header = request.headers.get("X-Tenant-ID")
    if header and header != principal.tenant_id:
        raise TenantMismatch(where="X-Tenant-ID")
    if any(named and named != principal.tenant_id for named in request.query_params.getlist("tenant_id")):
        raise TenantMismatch(where="the query")
    structlog.contextvars.bind_contextvars(tenant_id=principal.tenant_id)


def principal_of(token: str) -> Principal:
    """The principal an access token proves, or 401."""
    digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
    known = PROOFS.find(digest)
    if known is not None and known.holds():
        return known.principal
    header, claims, key = _read(token)
    proof = Proof(_principal(header, claims), header.get("kid"), key, *_span(claims), _rules())
    PROOFS.keep(digest, proof)
    return proof.principal


def _principal(header: dict[str, Any], claims: dict[str, Any]) -> Principal:
    _check_that_it_is_an_access_token(header, claims)
    if settings.KEYCLOAK_CLIENT_ID not in [*audiences(claims), claims.get("azp")]:
        raise AuthenticationFailed(f"The token is not meant for {settings.KEYCLOAK_CLIENT_ID}.")
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


def verified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that our issuer signed and that is valid now, or 401. Whom it is meant for, and
    for what, the caller checks."""
    header, claims, _ = _read(token)
    return header, claims


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The same, and the key that verified it."""
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise AuthenticationFailed("The token is empty or too long.")
    required = [*REQUIRED_CLAIMS, *(["nbf"] if settings.JWT_REQUIRE_NBF else [])]
    try:
        header = jwt.get_unverified_header(token)
        _check_that_it_reads_one_way(token.split(".")[0])
        _check_header(header)
        key = KEYS.key(header.get("kid"))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[settings.JWT_ALGORITHM],
            issuer=settings.JWT_ISSUER,
            leeway=settings.JWT_LEEWAY,
            options={"require": required, "verify_aud": False, "enforce_minimum_key_length": True},
        )
        _check_that_it_reads_one_way(token.split(".")[1])
    except jwt.ExpiredSignatureError as fault:
        raise AuthenticationFailed("The token has expired. Fetch a new one.") from fault
    except jwt.PyJWTError as fault:
        raise AuthenticationFailed(f"The token is not valid: {str(fault).rstrip('.')}.") from fault
    except RecursionError as fault:  # a header of brackets
        raise AuthenticationFailed("The token is not valid: it cannot be read.") from fault
    except MalformedBody as fault:
        raise AuthenticationFailed(
            f"The token is not valid: a part of it cannot be read: {fault.facts['reason']}."
        ) from fault
    _check_times(claims)
    if not 0 < len(claims["sub"]) <= MAX_SUBJECT_LENGTH:
        raise AuthenticationFailed("The token's claim sub is empty or too long.")
    return header, claims, key


def _check_that_it_reads_one_way(part: str) -> None:
    """As a body must: a claim said twice would be one tenant to us and another to a proxy in front. Raises
    MalformedBody."""
    parse_json(jwt.utils.base64url_decode(part))


def _check_times(claims: dict[str, Any]) -> None:
    for name in TIMES:
        if name in claims and type(claims[name]) not in (int, float):
            raise AuthenticationFailed(f"The token's claim {name} must be a number of seconds since 1970.")


def _check_header(header: dict[str, Any]) -> None:
    """What a header may say before any key is looked up: our algorithm, and nothing of keys or of other wrappings."""
    if header.get("alg") != settings.JWT_ALGORITHM:
        raise AuthenticationFailed(f"The token must be signed by {settings.JWT_ALGORITHM}.")
    if unwanted := sorted(REFUSED_HEADERS & set(header)):
        raise AuthenticationFailed(f"The token's header names {', '.join(unwanted)}, which is refused.")
    named = header.get("typ")
    if named is not None and not (isinstance(named, str) and ANY_TYPE.fullmatch(named)):
        raise AuthenticationFailed("The token's header names a type that is not JWT.")


def _check_that_it_is_an_access_token(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """An ID token, a refresh token, or one bound to a proof that we do not ask for, opens nothing. Keycloak says so in
    the claim `typ`, RFC 9068 in the header."""
    by_claim, by_header = claims.get("typ"), header.get("typ")
    if by_claim is None:
        is_one = isinstance(by_header, str) and bool(ACCESS_TOKEN_TYPE.fullmatch(by_header))
    else:
        is_one = isinstance(by_claim, str) and by_claim.lower() == "bearer"
    if not is_one or "cnf" in claims:
        raise AuthenticationFailed("This is not an access token: its typ must be Bearer.")


def audiences(claims: dict[str, Any]) -> list[Any]:
    named = claims.get("aud")
    return [named] if isinstance(named, str) else named if isinstance(named, list) else []


# What was proved before: see docs/adr/0027-a-request-costs-what-it-uses.md


@dataclass(frozen=True, slots=True)
class Proof:
    """What one token proved, by which key, from when until when."""

    principal: Principal
    kid: str | None
    key: Any
    since: float  # seconds since 1970, the leeway within
    until: float
    rules: tuple[object, ...]

    def holds(self) -> bool:
        """Whether reading the token again would come to the same: the times, our rules, and the key store, which may
        have forgotten the key or have been told it anew. Raises what the key store raises."""
        return (
            self.since <= time.time() < self.until
            and self.rules == _rules()
            and KEYS.key(self.kid) is self.key
        )


class Proofs:
    """By the SHA-256 of the token; the oldest goes first. Refusals are not kept, so that each says why anew."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[bytes, Proof] = {}
        self._lock = threading.Lock()

    def find(self, digest: bytes) -> Proof | None:
        return self._kept.get(digest)

    def keep(self, digest: bytes, proof: Proof) -> None:
        with self._lock:
            self._kept.pop(digest, None)
            while len(self._kept) >= self._size:
                del self._kept[next(iter(self._kept))]
            self._kept[digest] = proof

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


PROOFS = Proofs(size=4096)


def _rules() -> tuple[object, ...]:
    """Every setting that `_read` and `_principal` go by."""
    return (
        settings.JWT_ISSUER,
        settings.JWT_ALGORITHM,
        settings.JWT_REQUIRE_NBF,
        settings.JWT_LEEWAY,
        settings.KEYCLOAK_CLIENT_ID,
    )


def _span(claims: dict[str, Any]) -> tuple[float, float]:
    """The times between which PyJWT takes a token of these claims: whole seconds, as it reads them."""
    leeway_s = settings.JWT_LEEWAY.total_seconds()
    since = max(int(claims[name]) for name in ("iat", "nbf") if name in claims)
    return since - leeway_s, int(claims["exp"]) + leeway_s


# The development issuer: only without Keycloak, only in development


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
