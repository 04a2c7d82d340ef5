"""Signing in to the pages by the identity provider: OpenID Connect with PKCE, state and nonce, by mozilla-django-oidc.

Who somebody is, of which tenant and in which roles, is read from the access token by the very function that reads it
for the API. People are known by `sub`, never by name or address.
"""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlencode

import requests
import structlog
from django.conf import settings
from django.contrib import admin, auth, messages
from django.contrib.auth.models import Group
from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.csrf import csrf_failure
from django.views.decorators.cache import never_cache
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.middleware import SessionRefresh
from mozilla_django_oidc.views import (
    OIDCAuthenticationCallbackView,
    OIDCAuthenticationRequestView,
    OIDCLogoutView,
)
from rest_framework.exceptions import AuthenticationFailed

from omarino import audit, people
from omarino.asking import signs_in
from omarino.authentication import Principal, audiences, principal_of, verified
from omarino.errors import IdentityUnavailable
from omarino.models import User
from omarino.permissions import ROLES
from omarino.problems import answer_outage
from omarino.signing_in import keep_provider_session

KEPT_FOR_RENEWALS = 4  # a session ends by itself after so many times without a page
BEGUN_FOR_S = 600  # a sign-in that nobody finished
log = structlog.get_logger(__name__)


class SignInRefused(Exception):
    """The provider knows this person, and we do not let them in. Its text is shown to them; the code is for the audit."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


class IdentityProvider(OIDCAuthenticationBackend):  # type: ignore[misc]
    """From the provider's code to a person."""

    def authenticate(
        self, request: HttpRequest | None, nonce: str | None = None, code_verifier: str | None = None
    ) -> User | None:
        if not (settings.SIGN_IN_BY_PROVIDER and request and nonce and code_verifier):
            return None
        found: User | None = super().authenticate(request, nonce=nonce, code_verifier=code_verifier)
        return found

    def get_token(self, payload: dict[str, Any]) -> dict[str, Any]:
        told = super().get_token(payload)
        if not isinstance(told, dict) or not all(
            isinstance(told.get(name), str) for name in ("id_token", "access_token")
        ):
            raise SignInRefused("no_tokens", "The identity provider sent no tokens. Tell your administrator.")
        return told

    def verify_token(self, token: str, **kwargs: Any) -> dict[str, Any]:
        """The claims of an ID token that was made for us, for this very sign-in (OpenID Connect Core, 3.1.3.7)."""
        _, claims = verified(token)
        named, nonce = audiences(claims), claims.get("nonce")
        if settings.OIDC_RP_CLIENT_ID not in named or claims.get("typ", "ID") != "ID":
            raise AuthenticationFailed("The ID token is not meant for this service.")
        if claims.get("azp", settings.OIDC_RP_CLIENT_ID) != settings.OIDC_RP_CLIENT_ID or (
            len(named) > 1 and "azp" not in claims
        ):
            raise AuthenticationFailed("The ID token was made for another client.")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), kwargs["nonce"].encode()):
            raise AuthenticationFailed("The ID token belongs to another sign-in.")
        return claims

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict[str, Any]) -> User:
        principal = principal_of(access_token)
        if principal.subject != payload["sub"]:
            raise AuthenticationFailed("The two tokens are of different people.")
        signs_in(self.request, principal)
        self.request.provider_session = payload.get("sid")
        return admitted(principal)

    def get_user(self, user_id: Any) -> User | None:
        """Who was deactivated meanwhile is out, as with Django's own backend."""
        found: User | None = super(OIDCAuthenticationBackend, self).get_user(user_id)
        return found


def admitted(principal: Principal) -> User:
    """The person of this principal, made at the first sign-in, with the tenant and the roles of the token; or
    SignInRefused."""
    person = _kept(principal)
    if not person.is_active:
        raise SignInRefused("deactivated", "Your account here was deactivated. Ask an administrator.")
    if not person.is_staff:
        raise SignInRefused(
            "no_role", "Your account has none of the roles of this service. Ask an administrator for one."
        )
    return person


@transaction.atomic
def _kept(principal: Principal) -> User:
    person, is_new = User.objects.select_for_update().get_or_create(
        subject=principal.subject,
        defaults={"username": _free_username(principal), "tenant_id": principal.tenant_id},
    )
    was = None
    if is_new:
        person.set_unusable_password()
    else:
        was = people.Standing.of(person.pk)
    person.tenant_id = principal.tenant_id
    person.is_staff = bool(principal.roles) or person.is_superuser
    person.save(update_fields=["tenant_id", "is_staff", "password"])
    person.groups.remove(*person.groups.filter(name__in=ROLES - principal.roles))
    person.groups.add(*(Group.objects.get_or_create(name=role)[0] for role in sorted(principal.roles)))
    if was is None:
        people.created(person, by="provider")
    else:
        people.changed(person, was, by="provider")
    return person


def _free_username(principal: Principal) -> str:
    """The provider's name for a person, unless somebody else goes by it here."""
    name = principal.username[:150]
    if not User.objects.filter(username=name).exists():
        return name
    return f"{name[:133]}-{hashlib.blake2b(principal.subject.encode(), digest_size=8).hexdigest()}"


# The pages


@never_cache
def sign_in_page(request: HttpRequest) -> HttpResponseBase:
    """The provider's button; the form for a password in development only."""
    if request.method == "POST" and not settings.SIGN_IN_BY_PASSWORD:
        return HttpResponseNotAllowed(["GET"])
    ways = {"by_provider": settings.SIGN_IN_BY_PROVIDER, "by_password": settings.SIGN_IN_BY_PASSWORD}
    answer = admin.site.login(request, extra_context=ways)
    if request.method == "POST" and answer.status_code == HTTPStatus.OK:  # the form again
        log.warning("sign_in_refused", reason="password", username=request.POST.get("username", "")[:150])
    return answer


@transaction.atomic
def password_page(request: HttpRequest) -> HttpResponseBase:
    """One's own password, in development."""
    person = cast(User, request.user)
    was = people.Standing.of(person.pk)
    answer = admin.site.password_change(request)
    people.changed(person, was)
    return answer


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the token of its page, which may be another site's: Django asks here, and not `handler403`."""
    audit.refused(request, status=HTTPStatus.FORBIDDEN, code="csrf_failed")
    return csrf_failure(request, reason)


@method_decorator(never_cache, name="dispatch")
class BeginView(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """To the provider."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not settings.SIGN_IN_BY_PROVIDER:
            return HttpResponseRedirect(reverse("admin:login"))
        answer: HttpResponse = super().get(request)
        if not request.user.is_authenticated:
            request.session.set_expiry(BEGUN_FOR_S)
        return answer


@method_decorator(never_cache, name="dispatch")
class ReturnView(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Back from the provider."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not settings.SIGN_IN_BY_PROVIDER:
            return HttpResponseRedirect(reverse("admin:login"))
        if request.GET.get("state") not in request.session.get("oidc_states", {}):
            # a link of somebody else's: who is signed in stays so
            messages.error(request, "This sign-in was not begun here, or is used up. Please begin again.")
            return HttpResponseRedirect(reverse("admin:login"))
        self.asked_for = request.session.get("oidc_login_next")
        try:
            answer: HttpResponse = super().get(request)
        except SignInRefused as refusal:
            log.warning("sign_in_refused", reason=refusal.code)
            audit.refused(request, status=HTTPStatus.FORBIDDEN, code=refusal.code)
            return self._back(request, str(refusal))
        except AuthenticationFailed as refusal:
            log.warning("sign_in_refused", reason=str(refusal.detail))
            return self._back(request, f"You cannot be signed in. {refusal.detail}")
        except (requests.RequestException, IdentityUnavailable, SuspiciousOperation) as fault:
            log.error("sign_in_failed", error=type(fault).__name__)
            return self._back(
                request, "The identity provider does not answer as it should. Try again shortly."
            )
        return answer

    def login_success(self) -> HttpResponse:
        answer: HttpResponse = super().login_success()
        self.request.session.set_expiry(settings.OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS * KEPT_FOR_RENEWALS)
        keep_provider_session(self.request, self.user)
        return answer

    def login_failure(self) -> HttpResponse:
        return self._back(self.request, "Please sign in again.")

    def _back(self, request: HttpRequest, said: str) -> HttpResponse:
        """To the sign-in page, and out: who could not be renewed must not stay."""
        auth.logout(request)
        messages.error(request, said)
        following = {"next": asked} if (asked := getattr(self, "asked_for", None)) else {}
        return HttpResponseRedirect(f"{reverse('admin:login')}{'?' * bool(following)}{urlencode(following)}")


class LeaveView(OIDCLogoutView):  # type: ignore[misc]
    """Out here, and at the provider."""


def end_session_url(request: HttpRequest) -> str:
    """Where the browser goes after signing out: to the provider, which ends its own session and sends it back."""
    page = request.build_absolute_uri(reverse("admin:login"))
    hint = request.session.get("oidc_id_token")
    if not (settings.SIGN_IN_BY_PROVIDER and hint):
        return page
    told = {
        "id_token_hint": hint,
        "client_id": settings.OIDC_RP_CLIENT_ID,
        "post_logout_redirect_uri": page,
    }
    return f"{settings.OIDC_OP_LOGOUT_ENDPOINT}?{urlencode(told)}"


class Renewal(SessionRefresh):  # type: ignore[misc]
    """Asks the provider anew, unseen (`prompt=none`), when a page is opened some minutes after it last was asked: so
    that a role or an account taken away there is gone here. Pages only; a session without pages ends by itself."""

    def is_refreshable_url(self, request: HttpRequest) -> bool:
        return (
            settings.SIGN_IN_BY_PROVIDER
            and settings.SESSION_COOKIE_NAME in request.COOKIES
            and "text/html" in request.headers.get("Accept", "")
            and super().is_refreshable_url(request)
        )

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:
        try:
            answer: HttpResponseBase | None = super().process_request(request)
        except (OperationalError, InterfaceError) as fault:  # before any view: nobody else would catch it
            return answer_outage(request, fault)
        return answer
