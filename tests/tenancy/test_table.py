"""One table: every route of the URLconf x every role x whose tenant, against the roles as the API's contract has them.

The rules below are written by hand, apart from the views' permissions; a new route that none of them covers fails.
"""

from __future__ import annotations

import re

import pytest

from omarino.authentication import Principal
from omarino.permissions import AI_USER, ANOMALY_ANALYST, FORECASTER, MODEL_ADMIN, ROLES
from tests.conftest import ClientOf
from tests.tenancy.routes import Route, known_routes, private_routes
from tests.tenancy.test_every_route import ask, said

# verb, beginning of the address as a pattern, who may; the first that fits

RULES: list[tuple[str, str, frozenset[str]]] = [
    ("get", r"ai/audit", frozenset({MODEL_ADMIN})),
    ("get", r"ml/anomalies/detect", frozenset({ANOMALY_ANALYST})),
    ("post", r"ml/anomalies/train", frozenset({MODEL_ADMIN})),
    ("get", r"(ai|ml)/", ROLES),  # ai_user, and whoever has a role, reads everything of the tenant
    ("post", r"ai/mlflow/.*/(get-latest-versions|search)$", ROLES),  # readings, by MLflow's verbs
    ("post", r"ai/forecasts?\b", frozenset({FORECASTER})),
    (".*", r"ai/anomal", frozenset({ANOMALY_ANALYST})),
    (".*", r"ai/features/sets", frozenset({FORECASTER, MODEL_ADMIN})),
    (".*", r"ai/(features|explain)\b", ROLES),
    ("post", r"ai/models/<str:model_id>/((batch-)?predict|outcomes)$", ROLES),
    (
        ".*",
        r"ai/(models|mlflow|train)",
        frozenset({MODEL_ADMIN}),
    ),  # registers, promotes, deletes, trains, deploys
]


def may(route: Route) -> frozenset[str] | None:
    for verb, address, roles in RULES:
        if re.fullmatch(verb, route.verb) and re.match(address, route.path):
            return roles
    return None


each_private_route = pytest.mark.parametrize("route", private_routes(), ids=str)
ALONE = [frozenset[str](), *(frozenset({role}) for role in sorted(ROLES))]


def test_every_route_has_its_rule() -> None:
    assert [str(route) for route in private_routes() if may(route) is None] == []
    assert {role for _, _, roles in RULES for role in roles} == {AI_USER, *ROLES}


@each_private_route
def test_a_role_that_may_not_is_refused_whatever_the_tenant(
    route: Route, alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    allowed = may(route) or frozenset()

    for roles in (roles for roles in ALONE if not roles & allowed):
        for who in (alice, charlie):
            refused = ask(client_of(who, roles=roles), route, tenant_id=who.tenant_id)
            assert (refused.status_code, said(refused)["code"]) == (403, "permission_denied"), roles


@pytest.mark.parametrize("route", known_routes(), ids=str)
def test_a_role_that_may_enters_in_its_own_tenant_alone(
    route: Route, alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    entered: list[int] = []
    for roles in (roles for roles in ALONE if roles & (may(route) or frozenset())):
        names = route.prepared(alice)
        stranger = client_of(charlie, roles=roles)
        if route.has_an_id:
            absent = ask(stranger, route, tenant_id=charlie.tenant_id, names=names)
            assert absent.status_code == 404, roles
        named = ask(
            stranger,
            route,
            tenant_id=charlie.tenant_id,
            names=names,
            headers={"X-Tenant-ID": alice.tenant_id},
        )
        assert (named.status_code, said(named)["code"]) == (403, "tenant_mismatch"), roles

        own = ask(client_of(alice, roles=roles), route, tenant_id=alice.tenant_id, names=names)
        entered.append(own.status_code)

    assert entered
    assert entered[0] in (200, 201, 202, 204)
    assert set(entered[1:]) <= {200, 201, 202, 204, 409}, entered  # what was made once may be there now
