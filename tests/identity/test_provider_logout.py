"""The provider ends sessions: told by a real one while browsers are open, and by tokens it would never make."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as of_the_service
from django.contrib.auth import login
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.test import Client
from playwright.sync_api import Page

from omarino.audit_models import AuditRecord
from omarino.keys import KEYS
from omarino.models import ProviderSession, User
from omarino.provider_logout import EVENT
from omarino.signing_in import keep_provider_session
from omarino.tasks import forget_sessions
from tests.identity.conftest import Provider, Windows
from tests.identity.test_sign_in import is_out, is_signed_in, sign_in
from tests.omarino.conftest import issuer, pass_in_valkey  # noqa: F401  a fixture
from tests.omarino.issuer import AUDIENCE, EC_KEY, RSA_KEYS, Issuer, jwk_of

URL = "/admin/oidc/backchannel-logout/"


# By a real provider


def tell_back(provider: Provider, address: str, *, names_session: bool) -> None:
    provider.tell(backchannel={"uri": f"{address}{URL}", "names_session": names_session})


def sign_out_at_the_provider(page: Page, provider: Provider) -> None:
    """As from another application of the same provider: nothing of this passes through us."""
    page.goto(f"{provider.issuer}/protocol/openid-connect/logout")
    page.get_by_role("button", name="Yes, sign me out").click()
    page.wait_for_load_state()


def test_one_session_of_the_provider_ends_and_the_persons_other_goes_on(
    window: Windows, provider: Provider, address: str
) -> None:
    tell_back(provider, address, names_session=True)
    here, elsewhere = sign_in(window()), sign_in(window())
    is_signed_in(here)
    is_signed_in(elsewhere)
    assert len({row.sid for row in ProviderSession.objects.all()}) == 2

    sign_out_at_the_provider(here, provider)

    here.goto(f"{address}/admin/")
    is_out(here)
    elsewhere.reload()
    is_signed_in(elsewhere)
    person = User.objects.get()
    (record,) = AuditRecord.objects.filter(verb="signed_out", object_id=str(person.pk))
    assert (record.tenant_id, record.facts) == ("alpha", {"by": "provider"})


def test_without_a_session_named_all_of_the_person_end_and_nobody_elses(
    window: Windows, provider: Provider, address: str
) -> None:
    tell_back(provider, address, names_session=False)
    here, elsewhere, other = sign_in(window()), sign_in(window()), sign_in(window(), "charlie", "chocolate")
    for page in (here, elsewhere, other):
        is_signed_in(page)

    sign_out_at_the_provider(here, provider)

    elsewhere.reload()
    is_out(elsewhere)
    other.reload()
    is_signed_in(other)


# By tokens that it would not make


@pytest.fixture
def person(db: None, settings: Any, issuer: Issuer) -> User:  # noqa: F811
    """Signed in by the provider, in one browser."""
    settings.SIGN_IN_BY_PROVIDER = True
    person = User.objects.create_user("alice", tenant_id="alpha", is_staff=True, subject="3f0c")
    begin(person, "session-of-alice")
    return person


def begin(person: User, sid: str | None) -> str:
    """A session begun by the provider, and its key."""
    request: Any = HttpRequest()
    request.session = import_module(of_the_service.SESSION_ENGINE).SessionStore()
    login(request, person, backend="omarino.login.IdentityProvider")
    request.session.save()
    request.provider_session = sid
    keep_provider_session(request, person)
    return str(request.session.session_key)


Tell = Callable[..., tuple[int, str]]


@pytest.fixture
def tell(issuer: Issuer) -> Tell:  # noqa: F811
    """Posts a logout token; the status and what is said. `headers` and claims replace those of a good one."""
    made = iter(range(1000))

    def tell(
        *, headers: dict[str, Any] | None = None, token: str | None = None, **claims: Any
    ) -> tuple[int, str]:
        sent = token or logout_token(issuer, f"{next(made)}-{datetime.now(UTC)}", headers, **claims)
        answer = Client().post(URL, {"logout_token": sent})
        assert "no-store" in answer.headers["Cache-Control"]
        return answer.status_code, answer.json()["error_description"] if answer.content else ""

    return tell


def logout_token(issuer: Issuer, number: str, headers: dict[str, Any] | None = None, **claims: Any) -> str:  # noqa: F811
    now = datetime.now(UTC)
    good: dict[str, Any] = {
        "iat": now,
        "exp": now + timedelta(minutes=2),
        "jti": number,
        "sub": "3f0c",
        "sid": "session-of-alice",
        "events": {EVENT: {}},
        **dict.fromkeys(("typ", "nbf", "azp", "tenant_id", "realm_access", "preferred_username")),
    }
    told = {"algorithm": claims.pop("algorithm", "RS256"), "key": claims.pop("key", RSA_KEYS[0])}
    return issuer.token(headers={"typ": "logout+jwt", **(headers or {})}, **told, **{**good, **claims})


def open_sessions() -> int:
    return Session.objects.count()


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sid": None},
        {"sub": None},
        {"headers": {"typ": "JWT"}, "typ": "Logout"},  # Keycloak
        {"aud": [AUDIENCE, "other"]},
        {"events": {EVENT: {}, "revoke_offline_access": True}},
        {"exp": 10**400},
    ],
    ids=[
        *("sub and sid", "sub", "sid", "as Keycloak", "several audiences", "several events"),
        "valid past all clocks",
    ],
)
def test_a_good_token_ends_the_session_it_names(person: User, tell: Tell, claims: dict[str, Any]) -> None:
    assert tell(**claims) == (200, "")

    assert (open_sessions(), ProviderSession.objects.count()) == (0, 0)


def test_one_signed_by_an_elliptic_curve_is_taken_where_that_is_the_algorithm(
    person: User,
    tell: Tell,
    settings: Any,
    issuer: Issuer,  # noqa: F811
) -> None:
    settings.JWT_ALGORITHM = "ES256"
    issuer.keys = [jwk_of(EC_KEY, "first")]
    KEYS.forget()

    assert tell(key=EC_KEY, algorithm="ES256") == (200, "")
    assert open_sessions() == 0


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://elsewhere.example/realms/omarino"}, "issuer"),
        ({"aud": "grafana"}, "Audience"),
        ({"aud": None}, "aud"),
        ({"exp": datetime(2025, 1, 1, tzinfo=UTC)}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "iat"),
        ({"iat": timedelta(hours=1)}, "not yet valid"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"events": None}, "events"),
        ({"events": {}}, "no logout"),
        ({"events": [EVENT]}, "no logout"),
        ({"events": {EVENT: True}}, "no logout"),
        ({"nonce": "x"}, "nonce"),
        ({"sub": None, "sid": None}, "neither sub nor sid"),
        ({"sub": ""}, "neither sub nor sid"),
        ({"sid": 7}, "neither sub nor sid"),
        ({"sid": "nul\0"}, "neither sub nor sid"),
        ({"key": RSA_KEYS[1]}, "ignature"),
        ({"key": EC_KEY, "algorithm": "ES256"}, "header"),
        ({"headers": {"kid": "nobody's"}}, "unknown key"),
        ({"headers": {"typ": "at+jwt"}}, "another type"),
        ({"headers": {"jku": "https://evil.example/keys"}}, "header"),
        ({"token": "x" * 9000}, "too long"),
        ({"token": "no.token.at-all"}, "not valid"),
    ],
    ids=lambda told: str(list(told) if isinstance(told, dict) else told),
)
def test_any_other_ends_nothing(person: User, tell: Tell, claims: dict[str, Any], said: str) -> None:
    status, reason = tell(**claims)

    assert (status, open_sessions()) == (400, 1)
    assert said in reason


def test_an_access_token_ends_nothing(person: User, tell: Tell, issuer: Issuer) -> None:  # noqa: F811
    status, _ = tell(token=issuer.token())

    assert (status, open_sessions()) == (400, 1)


def test_a_logout_token_opens_nothing(person: User, issuer: Issuer) -> None:  # noqa: F811
    token = logout_token(issuer, "one", tenant_id="alpha", realm_access={"roles": ["ai_user"]})

    answer = Client().get("/ai/forecasts", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 401


def test_a_token_works_once(person: User, tell: Tell, issuer: Issuer) -> None:  # noqa: F811
    token = logout_token(issuer, f"once {datetime.now(UTC)}")
    assert tell(token=token) == (200, "")
    begin(person, "session-of-alice")

    status, said = tell(token=token)

    assert (status, open_sessions()) == (400, 1)
    assert "used before" in said


def test_a_session_whose_id_token_named_none_ends_with_its_person(person: User, tell: Tell) -> None:
    Session.objects.all().delete()
    begin(person, None)

    assert tell(sid="of the provider", sub="somebody else") == (200, "")
    assert open_sessions() == 1
    assert tell(sid="of the provider") == (200, "")
    assert open_sessions() == 0


def test_a_session_id_of_somebody_elses_ends_nothing(person: User, tell: Tell) -> None:
    assert tell(sub="somebody else") == (200, "")

    assert open_sessions() == 1


def test_nothing_but_a_posted_form_is_taken(person: User) -> None:
    client = Client(enforce_csrf_checks=True)

    assert client.get(URL).status_code == 405
    assert client.post(URL).status_code == 400
    assert client.post(URL, {"logout_token": "x"}, content_type="application/json").status_code == 400
    assert open_sessions() == 1


def test_where_nobody_signs_in_by_a_provider_nothing_is_taken(
    person: User, tell: Tell, settings: Any
) -> None:
    settings.SIGN_IN_BY_PROVIDER = False

    assert tell()[0] == 400
    assert open_sessions() == 1


def test_while_the_keys_cannot_be_fetched_it_may_be_sent_again(
    person: User,
    tell: Tell,
    settings: Any,
    issuer: Issuer,  # noqa: F811
) -> None:
    token = logout_token(issuer, f"again {datetime.now(UTC)}")
    issuer.status = 500

    assert Client().post(URL, {"logout_token": token}).status_code == 503

    issuer.status = 200
    pass_in_valkey(seconds=60)
    KEYS.forget()
    assert tell(token=token) == (200, "")


def test_what_is_kept_of_sessions_goes_with_them(person: User) -> None:
    key = begin(person, "another")
    Session.objects.exclude(session_key=key).delete()

    forget_sessions()

    assert [row.session_key for row in ProviderSession.objects.all()] == [key]


def test_signing_out_here_forgets_it(person: User) -> None:
    client = Client()
    client.force_login(person)
    ProviderSession.objects.create(session_key=str(client.session.session_key), person=person, sid="one")

    client.logout()

    assert not ProviderSession.objects.filter(sid="one").exists()
