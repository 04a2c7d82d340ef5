"""Signing in to the pages, in a real browser, by a real provider."""

from __future__ import annotations

import io
import logging
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from omarino import logs
from omarino.audit_models import AuditRecord, Outcome
from omarino.authentication import Principal
from omarino.models import User
from omarino.people import Standing
from tests.factories import make_asset
from tests.identity.conftest import SECRET, Provider, Windows
from tests.pages.conftest import Visit

BUTTON = "Sign in with your organisation's account"


def enter(page: Page, username: str, password: str) -> None:
    """At the provider."""
    expect(page.get_by_role("heading", name="Sign in to the realm")).to_be_visible()
    page.get_by_label("Name").fill(username)
    page.get_by_label("Secret").fill(password)
    page.get_by_role("button", name="Enter").click()


def sign_in(
    visit: Visit,
    username: str = "alice",
    password: str = "wonderland",  # noqa: S107  made up
    *,
    to: str = "/admin/",
) -> Page:
    visit.go(to)
    visit.page.get_by_role("link", name=BUTTON).click()
    enter(visit.page, username, password)
    return visit.page


def is_signed_in(page: Page) -> None:
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def is_out(page: Page, said: str = "") -> None:
    expect(page.get_by_role("link", name=BUTTON)).to_be_visible()
    if said:
        expect(page.locator("body")).to_contain_text(said)


def told_of(person: User, tenant_id: str = "alpha") -> list[AuditRecord]:
    """What the audit of a tenant has of a person, oldest first."""
    rows = AuditRecord.objects.for_tenant(tenant_id).filter(kind="person", object_id=str(person.pk))
    return list(rows.order_by("at"))


def last_refused_in(tenant_id: str) -> tuple[str, Any]:
    """Nothing empties the audit between tests."""
    rows = AuditRecord.objects.for_tenant(tenant_id).filter(outcome=Outcome.REFUSED)
    return rows.values_list("subject", "facts")[0]


def let_the_renewal_be_due() -> None:
    """As if the quarter of an hour were over."""
    for session in Session.objects.all():
        kept = session.get_decoded()
        if "oidc_id_token_expiration" in kept:
            kept["oidc_id_token_expiration"] = time.time() - 1
            session.session_data = Session.objects.encode(kept)
            session.save()


def test_the_first_sign_in_makes_the_person_the_token_describes(window: Windows) -> None:
    page = sign_in(window())

    is_signed_in(page)
    expect(page.locator(".who")).to_contain_text("alice of alpha")
    person = User.objects.get()
    assert (person.subject, person.username, person.tenant_id) == ("sub-alice", "alice", "alpha")
    assert (person.is_staff, person.is_superuser, person.has_usable_password()) == (True, False, False)
    assert person.roles == {"ai_user", "forecaster"}
    created, signed_in = told_of(person)
    assert (created.verb, signed_in.verb) == ("created", "signed_in")
    assert (created.subject, created.username, created.tenant_id) == ("sub-alice", "alice", "alpha")
    assert created.facts == {
        "by": "provider",
        "is_active": True,
        "is_superuser": False,
        "roles": ["ai_user", "forecaster"],
    }
    assert created.after == Standing.of(person.pk).digest


def test_the_page_that_was_asked_for_is_reached(window: Windows, alice: Principal) -> None:
    asset = make_asset(alice, name="Main meter")

    page = sign_in(window(), to=f"/admin/features/asset/{asset.pk}/change/")

    expect(page.get_by_role("heading", name="Main meter")).to_be_visible()


def test_the_second_sign_in_finds_the_same_person_by_the_subject(window: Windows, provider: Provider) -> None:
    is_signed_in(sign_in(window()))
    provider.change("sub-alice", username="alicia", tenant_id="beta", roles=["anomaly_analyst"])

    is_signed_in(sign_in(window(), "alicia"))

    person = User.objects.get()
    assert (person.subject, person.tenant_id, person.roles) == (
        "sub-alice",
        "beta",
        frozenset({"anomaly_analyst"}),
    )


def test_one_tenants_people_see_only_their_tenant(window: Windows, alice: Principal) -> None:
    asset = make_asset(alice, name="Meter of alice")
    page = sign_in(window(), "charlie", "chocolate")
    is_signed_in(page)

    expect(page.locator("body")).not_to_contain_text("Meter of alice")
    page.goto(page.url.partition("/admin/")[0] + f"/admin/features/asset/{asset.pk}/change/")
    expect(page.locator("body")).not_to_contain_text("Meter of alice")


def test_without_a_role_nobody_enters(window: Windows, caplog: pytest.LogCaptureFixture) -> None:
    page = sign_in(window(), "norman", "nothing")

    is_out(page, "Your account has none of the roles of this service")
    page.goto(page.url.partition("/admin/")[0] + "/admin/")
    is_out(page)
    assert [(person.subject, person.is_staff) for person in User.objects.all()] == [("sub-norman", False)]
    assert last_refused_in("alpha") == ("sub-norman", {"status": 403, "code": "no_role"})
    assert "no_role" in caplog.text


def test_without_a_tenant_nobody_enters(window: Windows) -> None:
    is_out(sign_in(window(), "hannah", "homeless"), "names no tenant")
    assert not User.objects.exists()


def test_who_was_deactivated_here_stays_out(window: Windows) -> None:
    first = sign_in(window())
    is_signed_in(first)
    User.objects.update(is_active=False)

    first.reload()
    is_out(first)
    is_out(sign_in(window()), "Your account here was deactivated")
    assert not User.objects.get().is_active
    assert last_refused_in("alpha") == ("sub-alice", {"status": 403, "code": "deactivated"})


def test_a_name_that_somebody_here_bears_opens_nothing_of_theirs(window: Windows) -> None:
    boss = User.objects.create_superuser("alice", tenant_id="alpha")

    is_signed_in(sign_in(window()))

    person = User.objects.get(subject="sub-alice")
    assert person.pk != boss.pk
    assert person.username.startswith("alice-")
    assert not person.is_superuser


def test_signing_out_ends_the_session_here_and_at_the_provider(window: Windows) -> None:
    visit = window()
    page = sign_in(visit)
    is_signed_in(page)

    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Yes, sign me out").click()  # Keycloak does not ask

    is_out(page)
    assert page.url.startswith(visit.address + "/admin/login/")
    assert not any("_auth_user_id" in session.get_decoded() for session in Session.objects.all())
    page.get_by_role("link", name=BUTTON).click()
    expect(page.get_by_role("heading", name="Sign in to the realm")).to_be_visible()


def test_the_back_button_shows_nothing_after_signing_out(window: Windows, alice: Principal) -> None:
    make_asset(alice, name="Meter of alice")
    page = sign_in(window())
    expect(page.locator("body")).to_contain_text("Meter of alice")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    is_out(page)

    for _ in range(4):
        page.go_back()
        expect(page.locator("body")).not_to_contain_text("Meter of alice")


def test_after_a_while_the_provider_is_asked_again_unseen(window: Windows, provider: Provider) -> None:
    page = sign_in(window())
    is_signed_in(page)
    provider.change("sub-alice", roles=["anomaly_analyst"])
    let_the_renewal_be_due()

    page.reload()

    is_signed_in(page)
    assert User.objects.get().roles == {"anomaly_analyst"}
    created, _, changed = told_of(User.objects.get())
    assert (changed.verb, changed.before, changed.subject) == ("changed", created.after, "sub-alice")
    assert changed.after == Standing.of(User.objects.get().pk).digest != changed.before
    assert changed.facts == {"by": "provider", "roles": [["ai_user", "forecaster"], ["anomaly_analyst"]]}
    let_the_renewal_be_due()
    page.reload()
    is_signed_in(page)
    assert len(told_of(User.objects.get())) == 3  # nothing changed since


def test_a_renewal_that_moves_somebody_is_told_in_both_tenants(window: Windows, provider: Provider) -> None:
    page = sign_in(window())
    is_signed_in(page)
    provider.change("sub-alice", tenant_id="beta", roles=["model_admin"])
    let_the_renewal_be_due()

    page.reload()

    is_signed_in(page)
    expect(page.locator(".who")).to_contain_text("alice of beta")
    person = User.objects.get()
    (away,), (here,) = told_of(person)[2:], told_of(person, "beta")
    assert (away.verb, away.facts) == ("changed", {"by": "provider", "moved": "away"})
    assert here.facts == {
        "by": "provider",
        "moved": "here",
        "roles": [["ai_user", "forecaster"], ["model_admin"]],
    }
    assert (away.before, away.after) == (here.before, here.after)


def test_roles_taken_away_are_gone_at_the_next_renewal(window: Windows, provider: Provider) -> None:
    page = sign_in(window())
    is_signed_in(page)
    provider.change("sub-alice", roles=[])
    let_the_renewal_be_due()

    page.reload()

    is_out(page, "none of the roles")
    assert User.objects.get().roles == frozenset()
    assert told_of(User.objects.get())[-1].facts["roles"] == [["ai_user", "forecaster"], []]
    assert last_refused_in("alpha") == ("sub-alice", {"status": 403, "code": "no_role"})


def our_cookies(page: Page) -> Any:
    return [cookie for cookie in page.context.cookies() if cookie.get("name") in ("sessionid", "csrftoken")]


def forget_the_provider(page: Page) -> None:
    """As if its session were over, and ours not."""
    kept = our_cookies(page)
    page.context.clear_cookies()
    page.context.add_cookies(kept)


def test_when_the_providers_session_is_over_one_must_sign_in_again(
    window: Windows, provider: Provider
) -> None:
    visit = window()
    page = sign_in(visit)
    is_signed_in(page)
    forget_the_provider(page)
    let_the_renewal_be_due()

    page.reload()

    is_out(page, "Please sign in again")
    page.get_by_role("link", name=BUTTON).click()
    enter(page, "alice", "wonderland")
    is_signed_in(page)


def test_somebody_of_another_tenant_signs_in_where_one_was_signed_in(window: Windows) -> None:
    visit = window()
    is_signed_in(sign_in(visit))
    forget_the_provider(visit.page)

    visit.go("/admin/oidc/authenticate/")
    enter(visit.page, "charlie", "chocolate")

    is_signed_in(visit.page)
    expect(visit.page.locator(".who")).to_contain_text("charlie of gamma")
    charlie = User.objects.get(subject="sub-charlie")
    (record,) = AuditRecord.objects.filter(verb="signed_in", object_id=str(charlie.pk))
    assert (record.tenant_id, record.subject, record.username) == ("gamma", "sub-charlie", "charlie")


def test_a_renewal_follows_the_provider_to_another_person_of_another_tenant(window: Windows) -> None:
    visit = window()
    page = sign_in(visit)
    is_signed_in(page)
    of_alice = our_cookies(page)
    page.context.clear_cookies()
    is_signed_in(sign_in(visit, "charlie", "chocolate"))
    page.context.add_cookies(of_alice)
    let_the_renewal_be_due()

    page.reload()

    is_signed_in(page)
    expect(page.locator(".who")).to_contain_text("charlie of gamma")


def test_a_session_without_pages_ends_by_itself(window: Windows, settings: Any) -> None:
    settings.OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS = 30  # longer than a busy machine takes for a page
    page = sign_in(window())
    is_signed_in(page)
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie.get("name") == "sessionid"]

    assert 0 < cookie["expires"] - time.time() <= 4 * 30


def test_the_provider_goes_away_in_the_middle(window: Windows, settings: Any) -> None:
    settings.OIDC_OP_TOKEN_ENDPOINT = "http://127.0.0.1:9/token"

    is_out(sign_in(window()), "does not answer as it should")


@pytest.mark.parametrize(
    "query", ["", "?error=access_denied", "?code=x&state=y", "?error=x&state=y", "?state=", "?code=x"]
)
def test_a_callback_that_nobody_began_changes_nothing(window: Windows, query: str) -> None:
    page = sign_in(window())
    is_signed_in(page)

    page.goto(page.url.partition("/admin/")[0] + f"/admin/oidc/callback/{query}")

    is_signed_in(page)


def test_a_used_callback_cannot_be_used_again(window: Windows) -> None:
    visit, seen = window(), []
    visit.page.on("request", lambda asked: seen.append(asked.url))
    is_signed_in(sign_in(visit))
    (used,) = [url for url in seen if "/admin/oidc/callback/" in url]
    other = window()

    other.page.goto(used)

    is_out(other.page, "not begun here")


def test_one_is_not_sent_to_another_site_afterwards(window: Windows) -> None:
    visit = window()
    visit.go("/admin/oidc/authenticate/?next=https://evil.example/")
    enter(visit.page, "alice", "wonderland")

    is_signed_in(visit.page)


def test_the_request_to_the_provider_carries_pkce_state_and_nonce(window: Windows) -> None:
    visit, seen = window(), []
    visit.page.on("request", lambda asked: seen.append(asked.url))
    is_signed_in(sign_in(visit))

    (asked,) = [url for url in seen if "/protocol/openid-connect/auth?" in url]
    assert "code_challenge_method=S256" in asked
    assert all(f"&{name}=" in asked for name in ("code_challenge", "state", "nonce"))
    assert "scope=openid+profile" in asked


def test_no_log_tells_what_a_sign_in_was_done_with(window: Windows) -> None:
    visit, seen, text = window(), [], io.StringIO()
    visit.page.on("request", lambda asked: seen.append(asked.url))
    handler = logging.StreamHandler(text)
    handler.setFormatter(logs.formatter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        is_signed_in(sign_in(visit))
    finally:
        root.setLevel(level)
        root.removeHandler(handler)

    (returned,) = [url for url in seen if "/admin/oidc/callback/" in url]
    told = parse_qs(urlsplit(returned).query)
    (session,) = [found for found in Session.objects.all() if "_auth_user_id" in found.get_decoded()]
    cookies = [str(cookie.get("value")) for cookie in visit.page.context.cookies(visit.address)]
    kept = [
        value for name, value in session.get_decoded().items() if "token" in name and isinstance(value, str)
    ]
    secrets = [*told["code"], *told["state"], SECRET, "wonderland", session.session_key, *cookies, *kept]
    assert len(text.getvalue()) > 0
    assert len(secrets) > 6
    assert [secret for secret in secrets if secret in text.getvalue()] == []


def test_in_production_no_password_is_taken(window: Windows) -> None:
    User.objects.create_superuser("boss", password="correct-horse-battery", tenant_id="alpha")
    visit = window()
    visit.go("/admin/")

    is_out(visit.page)
    expect(visit.page.locator("input")).to_have_count(0)
    answer = visit.page.request.post(
        f"{visit.address}/admin/login/", form={"username": "boss", "password": "correct-horse-battery"}
    )
    assert answer.status in (403, 405)
    visit.go("/admin/")
    is_out(visit.page)
