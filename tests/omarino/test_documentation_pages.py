"""The pages about the API: served whole by ourselves, and by headers that let nothing else in."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from omarino.models import User

PAGES = ["/docs", "/redoc", "/admin/login/"]
OURS = re.compile(r"/(?!/)")


class Assets(HTMLParser):
    """Every address a browser would fetch or open for a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline_scripts = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag != "a":
            self.addresses += [
                str(named[name]) for name in ("src", "href", "spec-url", "action") if named.get(name)
            ]
        if tag == "script" and "src" not in named and named.get("type") != "application/json":
            self.inline_scripts += 1


@pytest.fixture
def person(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada", password="x" * 12, tenant_id="alpha"))
    return client


def check_headers(response: Any) -> None:
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert "unsafe-eval" not in policy
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None
    assert scripts[1] == "'self'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "same-origin"


def check_assets(client: Client, html: str) -> None:
    assets = Assets(html)
    assert assets.addresses
    assert assets.inline_scripts == 0
    for address in assets.addresses:
        assert OURS.match(address), f"{address} is not ours"
        if address.startswith("/static/"):
            answer = client.get(address)
            assert answer.status_code == 200, address
            check_headers(answer)
            answer.close()
    assert not re.search(r"url\(\s*['\"]?(https?:)?//", html)


@pytest.mark.parametrize(
    ("address", "more"),
    [
        ("/ai/forecasts\0", {}),
        ("/ai/forecasts?limit=%00", {}),
        ("/health", {"Host": "elsewhere.example"}),
        ("/nowhere", {}),
        ("/static/nowhere.css", {}),
    ],
    ids=["NUL in the path", "NUL in the query", "unknown host", "no route", "no file"],
)
def test_a_refusal_has_the_headers_of_all_answers(
    address: str, more: dict[str, str], db: None, client: Client
) -> None:
    response = client.get(address, headers=more)

    assert response.status_code in (400, 404)
    check_headers(response)


def test_what_a_known_caller_was_answered_is_kept_by_no_cache(person: Client) -> None:
    for address in (
        "/ai/forecasts",
        "/ai/forecasts?limit=x",
        "/ai/forecast/00000000-0000-4000-8000-000000000000",
    ):
        answer = person.get(address, headers={"Accept": "application/json"})
        assert answer.headers["Cache-Control"] == "no-store", address


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fetches_nothing_from_elsewhere(page: str, db: None, client: Client) -> None:
    response = client.get(page)

    assert response.status_code == 200
    check_headers(response)
    check_assets(client, response.content.decode())


def test_only_redoc_may_write_styles_into_its_page(db: None, client: Client) -> None:
    policies = {page: client.get(page).headers["Content-Security-Policy"] for page in [*PAGES, "/health"]}

    assert [page for page, policy in policies.items() if "unsafe-inline" in policy] == ["/redoc"]


def test_the_document_of_the_api_names_its_routes_and_its_errors(db: None, client: Client) -> None:
    document = json.loads(client.get("/openapi.json").content)

    assert {"/ai/forecast", "/ai/forecasts", "/health"} <= set(document["paths"])
    answers = document["paths"]["/ai/forecast"]["post"]["responses"]
    assert set(answers) >= {"200", "400", "401", "403", "413", "422", "503"}
    assert "application/problem+json" in answers["422"]["content"]


def test_a_person_who_signed_in_browses_the_api(person: Client) -> None:
    response = person.get("/ai/forecasts", headers={"Accept": "text/html"})

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    check_headers(response)
    check_assets(person, response.content.decode())
    assert "forecasts" in response.content.decode()


def test_an_error_in_the_browsed_api_is_a_page_as_well(person: Client) -> None:
    response = person.get(
        "/ai/forecast/00000000-0000-0000-0000-000000000000", headers={"Accept": "text/html"}
    )

    assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "not_found" in response.content.decode()


def test_a_signed_in_person_writes_only_with_a_csrf_token(db: None) -> None:
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.force_login(User.objects.create_superuser("ada", password="x" * 12, tenant_id="alpha"))

    response = strict.post("/ai/forecast", "{}", content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
    assert "CSRF" in response.json()["detail"]


def test_a_person_without_a_tenant_sees_nothing(db: None, client: Client) -> None:
    client.force_login(User.objects.create_superuser("ada", password="x" * 12))

    response = client.get("/ai/forecasts")

    assert response.status_code == 401
    assert "belongs to no tenant" in response.json()["detail"]


def test_a_person_without_a_group_may_not_read(db: None, client: Client) -> None:
    client.force_login(User.objects.create_user("eve", password="x" * 12, tenant_id="alpha", is_staff=True))

    assert client.get("/ai/forecasts").status_code == 403
    assert client.get("/ai/forecasts", headers={"X-Tenant-ID": "gamma"}).json()["code"] == "tenant_mismatch"
