"""Sessions that the identity provider ends: OpenID Connect Back-Channel Logout 1.0.

The provider posts a signed logout token, from server to server; whoever it names is out of the pages at once, not only
at the next renewal. Access tokens that are out stay valid until they expire, as everywhere.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from typing import Any

import jwt
import structlog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View
from rest_framework.exceptions import AuthenticationFailed

from omarino import audit
from omarino.authentication import MAX_TOKEN_BYTES, REFUSED_HEADERS
from omarino.keys import KEYS
from omarino.models import ProviderSession, User
from omarino.valkey import Door

EVENT = "http://schemas.openid.net/event/backchannel-logout"
REQUIRED = ["iss", "aud", "iat", "exp", "jti", "events"]
TYPE = re.compile(
    r"(application/)?(logout\+)?jwt", re.IGNORECASE
)  # Keycloak says JWT, the specification logout+jwt
USED_FOR_S = 86_400  # the longest that a used token is remembered; they live for two minutes
log = structlog.get_logger(__name__)
USED = Door("used logout tokens")


class LogoutTokenRefused(Exception):
    """It ends nothing. Its text goes to the provider."""


def checked(token: str) -> dict[str, Any]:
    """The claims of a logout token that our provider made for us (the specification's section 2.6)."""
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise LogoutTokenRefused("logout_token is missing or too long.")
    try:
        header = jwt.get_unverified_header(token)
        _check_header(header)
        claims: dict[str, Any] = jwt.decode(
            token,
            KEYS.key(header.get("kid")),
            algorithms=[settings.JWT_ALGORITHM],
            issuer=settings.JWT_ISSUER,
            audience=settings.OIDC_RP_CLIENT_ID,
            leeway=settings.JWT_LEEWAY,
            options={"require": REQUIRED, "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as fault:
        raise LogoutTokenRefused(f"The token is not valid: {str(fault).rstrip('.')}.") from fault
    except AuthenticationFailed as fault:  # its key
        raise LogoutTokenRefused(str(fault.detail)) from fault
    except RecursionError as fault:
        raise LogoutTokenRefused("The token cannot be read.") from fault
    _check_claims(claims)
    return claims


def _check_header(header: dict[str, Any]) -> None:
    if header.get("alg") != settings.JWT_ALGORITHM or REFUSED_HEADERS & set(header):
        raise LogoutTokenRefused("The token's header is not one of ours.")
    named = header.get("typ", "JWT")
    if not (isinstance(named, str) and TYPE.fullmatch(named)):
        raise LogoutTokenRefused("The token's header names another type.")


def _check_claims(claims: dict[str, Any]) -> None:
    events = claims["events"]
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise LogoutTokenRefused("The token's events hold no logout.")
    if "nonce" in claims:  # an ID token, which must end nothing
        raise LogoutTokenRefused("The token holds a nonce.")
    if not isinstance(claims["jti"], str) or not claims["jti"]:
        raise LogoutTokenRefused("The token's jti is no text.")
    named = [claims[name] for name in ("sub", "sid") if name in claims]
    if not named or not all(isinstance(name, str) and name and name.isprintable() for name in named):
        raise LogoutTokenRefused("The token names neither sub nor sid.")


def end_sessions(*, subject: str | None, sid: str | None) -> int:
    """End the sessions that the provider means; how many were open."""
    with transaction.atomic():
        named = ProviderSession.objects.named_by(subject=subject, sid=sid).select_for_update()
        found = list(named.values_list("session_key", "person_id"))
        ended, _ = Session.objects.filter(session_key__in=[key for key, _ in found]).delete()
        ProviderSession.objects.filter(session_key__in=[key for key, _ in found]).delete()
        for person in User.objects.filter(pk__in={pk for _, pk in found}).order_by("pk"):
            audit.record(person.tenant_id, "signed_out", "person", person.pk, by="provider")
    return ended


@method_decorator([csrf_exempt, never_cache], name="dispatch")
class ProviderLogoutView(View):
    """What the provider calls. Nobody else can: the token is signed."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        if not settings.SIGN_IN_BY_PROVIDER:
            return _refusal("Nobody signs in here by a provider.")
        try:
            claims = checked(request.POST.get("logout_token", ""))
            _refuse_when_used(claims)
        except LogoutTokenRefused as refusal:
            log.warning("provider_logout_refused", reason=str(refusal))
            return _refusal(str(refusal))
        ended = end_sessions(subject=claims.get("sub"), sid=claims.get("sid"))
        _remember(claims)
        log.info("provider_logout", sessions=ended)
        return HttpResponse(status=200)


def _refusal(reason: str) -> JsonResponse:
    return JsonResponse({"error": "invalid_request", "error_description": reason}, status=400)


def _refuse_when_used(claims: dict[str, Any]) -> None:
    """One that somebody caught must not end what began since. With Valkey away only its expiry holds that up."""
    if USED.ask(lambda valkey: valkey.get(_name(claims))) is not None:
        raise LogoutTokenRefused("The token was used before.")


def _remember(claims: dict[str, Any]) -> None:
    """Once it is done: a provider that met an outage may send it again."""
    # whole numbers throughout: an exp of 400 digits is no float
    left_s = int(claims["exp"]) - int(time.time()) + math.ceil(settings.JWT_LEEWAY.total_seconds())
    USED.ask(lambda valkey: valkey.set(_name(claims), "used", ex=min(max(left_s, 1), USED_FOR_S)))


def _name(claims: dict[str, Any]) -> str:
    return f"omarino:logout:{hashlib.blake2b(claims['jti'].encode('utf-8', 'replace'), digest_size=16).hexdigest()}"
