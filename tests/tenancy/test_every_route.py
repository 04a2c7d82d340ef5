"""The wall between tenants and the door of each route, tried on every route there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from django.urls import get_resolver
from rest_framework.test import APIClient
from rest_framework.views import APIView

from omarino.authentication import BearerAuthentication, Principal, SignedInAuthentication
from omarino.permissions import ROLES
from tests.conftest import ClientOf
from tests.tenancy.routes import (
    BODIES,
    OF_THE_SERVICE,
    OF_TWO_ROWS,
    PUBLIC,
    ROWS,
    Route,
    every_address,
    every_route,
    known_routes,
    private_routes,
    routes_with_an_id,
)

each_private_route = pytest.mark.parametrize("route", private_routes(), ids=str)
each_known_route = pytest.mark.parametrize("route", known_routes(), ids=str)
each_route_with_an_id = pytest.mark.parametrize("route", routes_with_an_id(), ids=str)


def said(response: Any) -> dict[str, Any]:
    """A problem without what differs from request to request."""
    return {name: value for name, value in response.json().items() if name != "request_id"}


def ask(
    client: APIClient,
    route: Route,
    *,
    tenant_id: Any,
    names: Mapping[str, Any] | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> Any:
    told = route.body(tenant_id)
    body = told if isinstance(told, bytes) else b"" if told is None else json.dumps(told).encode()
    url = route.url(names)
    query = query.replace("?", "&", 1) if "?" in url else query
    response: Any = client.generic(
        route.verb.upper(), url + query, cast(Any, body), "application/json", headers=headers
    )
    if response.streaming:
        response.getvalue()  # to its end, where its file is closed
    return response


# What the walk needs to know


def test_every_route_is_known() -> None:
    """A new route with an id tells `routes.py` how to make its row; one that takes a body, what to send."""
    assert [str(route) for route in private_routes() if not route.is_known] == []
    names = {route.name for route in private_routes()}
    assert {*ROWS, *(name for name, _ in BODIES)} <= names


def test_the_walk_finds_the_routes_of_all_apps() -> None:
    found = {str(route) for route in every_route()}

    assert found >= {"GET /health", "POST /ai/forecast", "GET /ai/forecasts", "POST /ai/features/readings"}
    assert len(list(every_address())) > len(get_resolver().url_patterns)


def test_the_public_list_is_short_and_all_there() -> None:
    assert {route.path for route in every_route() if route.path in PUBLIC} == PUBLIC
    assert {(route.path, route.verb) for route in every_route() if route.path in PUBLIC} == {
        (path, "get") for path in PUBLIC
    }


# The door


@each_private_route
def test_it_says_itself_who_may_enter(route: Route) -> None:
    assert isinstance(route.view, type)
    assert issubclass(route.view, APIView)
    asked_for = route.roles()
    assert asked_for
    assert all(roles and roles <= ROLES for roles in asked_for)
    assert route.view.authentication_classes == [BearerAuthentication, SignedInAuthentication]


@each_private_route
def test_without_a_token_nobody_enters(route: Route, db: None) -> None:
    client = APIClient(raise_request_exception=False)

    response = ask(client, route, tenant_id="alpha")

    assert (response.status_code, said(response)["code"]) == (401, "not_authenticated")
    assert client.options(route.url()).status_code == 401
    assert client.head(route.url()).status_code in (401, 405)


@each_private_route
def test_without_a_role_nobody_enters(route: Route, client_of: ClientOf, alice: Principal) -> None:
    needed = frozenset[str]().union(*route.roles())

    for roles in (frozenset(), ROLES - needed):
        response = ask(client_of(alice, roles=roles), route, tenant_id=alice.tenant_id)
        assert (response.status_code, said(response)["code"]) == (403, "permission_denied")


@each_known_route
def test_each_role_that_is_named_enters(route: Route, client_of: ClientOf, alice: Principal) -> None:
    needed = frozenset.intersection(*route.roles())

    for role in sorted(needed):
        names = route.prepared(alice)  # the one before may have used it up
        response = ask(
            client_of(alice, roles=frozenset({role})), route, tenant_id=alice.tenant_id, names=names
        )
        assert response.status_code in (200, 201, 202, 204), response.content


# The tenant


@each_private_route
@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"X-Tenant-ID": "gamma"}),
        ("", {"X-Tenant-ID": "ALPHA"}),
        ("", {"X-Tenant-ID": "alpha,gamma"}),
        ("?tenant_id=gamma", {}),
        ("?tenant_id=alpha&tenant_id=gamma", {}),
        ("?tenant_id=gamma&tenant_id=alpha", {}),
    ],
    ids=str,
)
def test_no_other_tenant_may_be_named(
    route: Route, query: str, headers: dict[str, str], client_of: ClientOf, alice: Principal
) -> None:
    response = ask(client_of(alice), route, tenant_id=alice.tenant_id, query=query, headers=headers)

    assert (response.status_code, said(response)["code"]) == (403, "tenant_mismatch")
    assert "gamma" not in response.content.decode()


@each_known_route
def test_ones_own_tenant_may_be_named(route: Route, client_of: ClientOf, alice: Principal) -> None:
    names = route.prepared(alice)

    response = ask(
        client_of(alice),
        route,
        tenant_id="alpha",
        names=names,
        query="?tenant_id=alpha",
        headers={"X-Tenant-ID": "alpha"},
    )

    assert response.status_code in (200, 201, 202, 204), response.content


@pytest.mark.parametrize(
    "route", [route for route in known_routes() if isinstance(route.body(""), dict)], ids=str
)
@pytest.mark.parametrize("named", ["gamma", "ALPHA", "alpha.", "", None, ["alpha"], {"alpha": 1}, 7])
def test_a_body_names_no_other_tenant(
    route: Route, named: Any, client_of: ClientOf, alice: Principal
) -> None:
    names = ROWS[route.name](alice) if route.has_an_id else {}

    response = ask(client_of(alice), route, tenant_id=named, names=names)

    expected = (
        (403, "tenant_mismatch")
        if isinstance(named, str | int) and named != ""
        else (422, "validation_failed")
    )
    assert (response.status_code, said(response)["code"]) == expected


@each_route_with_an_id
def test_another_tenants_row_looks_absent(
    route: Route, alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    names = ROWS[route.name](alice)
    stranger = client_of(charlie)

    of_alice = ask(stranger, route, tenant_id=charlie.tenant_id, names=names)
    of_nobody = ask(stranger, route, tenant_id=charlie.tenant_id, names=None)

    assert of_alice.status_code == 404
    assert said(of_alice) == said(of_nobody)
    assert set(of_alice.headers) == set(of_nobody.headers)


@each_route_with_an_id
def test_a_colleague_finds_the_row(
    route: Route, alice: Principal, bob: Principal, client_of: ClientOf
) -> None:
    names = ROWS[route.name](alice)

    assert ask(client_of(bob), route, tenant_id=bob.tenant_id, names=names).status_code in (
        200,
        201,
        202,
        204,
    )


@pytest.mark.parametrize(
    "route",
    [
        route
        for route in private_routes()
        if route.verb == "get" and not route.has_an_id and route.name not in OF_THE_SERVICE
    ],
    ids=str,
)
def test_a_list_holds_what_is_the_tenants_and_nothing_else(
    route: Route, alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    for name, make in ROWS.items():
        if name not in OF_TWO_ROWS:
            make(alice)

    assert ask(client_of(alice), route, tenant_id="alpha").json()["total"] >= 1
    assert ask(client_of(charlie), route, tenant_id="gamma").json()["total"] == 0


# The pages


def test_no_page_of_the_admin_shows_anything_to_who_did_not_sign_in(db: None) -> None:
    client = APIClient(raise_request_exception=False)
    pages = [path for path, _ in every_address() if path.startswith("admin/")]
    assert len(pages) > 20

    for path in pages:
        parts = [("1" if part.startswith("<") else part) for part in path.split("/")]
        response = client.get("/" + "/".join(parts).replace("(?P<url>.*)$", "anything"))
        open_to_all = path in ("admin/login/", "admin/jsi18n/")
        assert open_to_all or response.status_code in (302, 404, 405), path
        if response.status_code == 302:
            assert response.headers["Location"].startswith("/admin/login/") or path == "admin/logout/", path
