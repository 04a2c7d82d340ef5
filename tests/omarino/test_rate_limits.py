"""How often one may ask, counted by the real Valkey."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings as of_the_service
from django.test import Client
from structlog.testing import capture_logs

from omarino.authentication import Principal
from omarino.limits import DOOR, HEAVY, LIGHT, WINDOW_S, Budget, scope_of, spend
from omarino.metrics import RATE_LIMITS_AWAY
from omarino.models import User
from omarino.valkey import client as valkey
from tests.audit.conftest import records_of_this_test
from tests.conftest import ClientOf
from tests.tenancy.routes import private_routes

DAY_S = 86_400  # in so long a window nothing comes back while a test runs
READINGS = {
    "tenant_id": "alpha",
    "asset_id": "meter",
    "readings": [{"timestamp": "2025-01-01T00:00:00Z", "value": 1}],
}


@pytest.fixture(autouse=True)
def full_budgets() -> None:
    for name in valkey().keys("omarino:rate:*"):
        valkey().delete(name)
    DOOR.forget()


def budget(limit: int, name: str = "one") -> Budget:
    return Budget(f"omarino:rate:test:{name}", limit, "a test")


def passed(limit: int, times: int, **window: int) -> int:
    balances = [spend([budget(limit)], **window) for _ in range(times)]
    return sum(balance is not None and balance.wait_s == 0 for balance in balances)


# The count


@pytest.mark.parametrize("limit", [1, 2, 7, 60, 999, 3000])
def test_exactly_the_limit_passes(limit: int) -> None:
    assert passed(limit, limit + 20, window_s=DAY_S) == limit


def test_a_server_that_does_not_know_the_script_is_told_it() -> None:
    passed(5, 2, window_s=DAY_S)
    valkey().script_flush()

    assert passed(5, 5, window_s=DAY_S) == 3


def test_what_is_left_is_counted_down() -> None:
    found = [spend([budget(3)], window_s=DAY_S) for _ in range(4)]

    assert [balance and balance.remaining for balance in found] == [2, 1, 0, 0]
    assert [balance and balance.wait_s > 0 for balance in found] == [False, False, False, True]
    # A third of the day comes back every eight hours.
    assert found[-1]
    assert 28_790 <= found[-1].wait_s <= 28_800
    assert 86_390 <= found[-1].whole_in_s <= 86_400


def test_a_budget_comes_back_evenly() -> None:
    assert passed(10, 20) == 10
    name = budget(10).key
    valkey().set(name, f"{float(valkey().get(name)) - 18_000_000:.3f}")  # as if 18 of 60 s had passed

    assert passed(10, 20) == 3


def test_a_rested_budget_is_no_larger_than_a_fresh_one() -> None:
    passed(5, 5)
    valkey().set(budget(5).key, "1.000")

    assert passed(5, 20, window_s=DAY_S) == 5


def test_a_clock_set_back_keeps_nobody_out() -> None:
    assert passed(5, 10) == 5
    name = budget(5).key
    valkey().set(name, f"{float(valkey().get(name)) + 3_600_000_000:.3f}", px=3_660_000)  # as an hour later

    assert passed(5, 10, window_s=WINDOW_S) == 5
    assert valkey().pttl(name) <= WINDOW_S * 1000 + 1


def test_who_is_refused_spends_nothing_of_the_other_budget() -> None:
    mine, ours = budget(2, "mine"), budget(100, "ours")
    for _ in range(50):
        spend([mine, ours], window_s=DAY_S)

    told = spend([budget(100, "ours")], window_s=DAY_S)

    assert told
    assert told.remaining == 97


def test_the_scarcest_budget_is_told() -> None:
    mine, ours = budget(50, "mine"), budget(3, "ours")
    told = [spend([mine, ours], window_s=DAY_S) for _ in range(4)]

    assert [balance and balance.budget.key for balance in told] == [ours.key] * 4


def test_spent_budgets_leave_nothing_behind() -> None:
    spend([budget(6)])
    assert 0 < valkey().pttl(budget(6).key) <= 10_100  # ten seconds' worth was spent


def test_four_processes_together_pass_exactly_the_limit() -> None:
    script = """
import sys
import django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from omarino.limits import Budget, spend
key = sys.stdin.readline().strip()
def ask(_):
    balance = spend([Budget(key, 250, "a test"), Budget(key + "-ours", 1000, "all")], window_s=86_400)
    return balance.wait_s == 0
with ThreadPoolExecutor(8) as threads:
    print(sum(threads.map(ask, range(300))))
"""
    address = valkey().connection_pool.connection_kwargs
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "omarino.settings",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(address["port"]),
        "REDIS_PASSWORD": str(address.get("password") or ""),
        "REDIS_DB": str(address.get("db") or 0),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=of_the_service.BASE_DIR,
        )
        for _ in range(4)
    ]
    key = f"omarino:rate:test:{uuid.uuid4().hex}"
    for process in processes:
        assert process.stdin
        process.stdin.write(key + "\n")  # they wait for it, and begin together
        process.stdin.flush()
    found = [int(process.communicate(timeout=200)[0]) for process in processes]

    assert sum(found) == 250, found


def test_threads_of_one_process_pass_exactly_the_limit() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: spend([budget(100)], window_s=DAY_S), range(400)))

    assert sum(balance is not None and balance.wait_s == 0 for balance in found) == 100


# The routes


def test_the_answer_says_what_is_left(alice: Principal, client_of: ClientOf, settings: Any) -> None:
    settings.RATE_LIMIT_LIGHT = 3
    client = client_of(alice)

    answers = [client.get("/ai/forecasts") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {"3;w=60"}
    assert all(0 < int(answer.headers["RateLimit-Reset"]) <= WINDOW_S for answer in answers)
    refused = answers[-1]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert 0 < int(refused.headers["Retry-After"]) <= 20
    problem = refused.json()
    assert (problem["code"], problem["limit"], problem["window_s"]) == ("rate_limited", 3, 60)
    assert problem["retry_after_s"] == int(refused.headers["Retry-After"])
    assert problem["detail"].startswith(
        "Only 3 requests in 60 s are answered to one subject on light routes."
    )
    assert "Retry-After" not in answers[0].headers


def test_light_and_heavy_routes_have_budgets_of_their_own(
    alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    settings.RATE_LIMIT_LIGHT, settings.RATE_LIMIT_HEAVY = 2, 1
    client = client_of(alice)

    assert client.post("/ai/features/readings", READINGS).status_code == 200
    assert client.post("/ai/features/readings", READINGS).status_code == 429
    assert [client.get("/ai/forecasts").status_code for _ in range(3)] == [200, 200, 429]


def test_a_colleague_has_a_budget_of_her_own_and_the_tenant_one_for_all(
    alice: Principal, bob: Principal, charlie: Principal, client_of: ClientOf, settings: Any
) -> None:
    settings.RATE_LIMIT_LIGHT, settings.RATE_LIMIT_TENANT_FACTOR = 3, 2
    asked = {name: client_of(who) for name, who in (("alice", alice), ("bob", bob), ("charlie", charlie))}
    dora = client_of(Principal("dora", "alpha", alice.roles, "dora"))

    assert [asked["alice"].get("/ai/forecasts").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert [asked["bob"].get("/ai/forecasts").status_code for _ in range(3)] == [200, 200, 200]
    refused = dora.get("/ai/forecasts")  # six of the tenant's six are spent
    assert refused.status_code == 429
    assert "one tenant on light routes" in refused.json()["detail"]
    assert asked["charlie"].get("/ai/forecasts").status_code == 200


@pytest.mark.parametrize("how", ["no role", "another tenant named", "another tenant asked for"])
def test_what_is_refused_at_the_door_costs_a_light_one_and_then_leaves_no_record(
    how: str, alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    settings.RATE_LIMIT_LIGHT = 3
    settings.RATE_LIMIT_HEAVY = 100
    client = client_of(alice, roles=frozenset()) if how == "no role" else client_of(alice)
    headers = {"X-Tenant-ID": "beta"} if how == "another tenant named" else None
    address = "/ai/forecast?tenant_id=beta" if how == "another tenant asked for" else "/ai/forecast"

    answers = [client.post(address, {}, headers=headers) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [403] * 3 + [429] * 3
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0", "0", "0"]
    assert records_of_this_test().filter(outcome="refused").count() == 3
    assert {answer.json()["code"] for answer in answers[3:]} == {"rate_limited"}
    assert client_of(alice).post("/ai/forecast", {}).status_code == 422  # its own budget is heavy


def test_a_person_whose_form_is_forged_is_limited_as_well(db: None, settings: Any) -> None:
    settings.RATE_LIMIT_LIGHT = 2
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("ada", password="x" * 12, tenant_id="alpha"))

    answers = [browser.post("/ai/forecast", {}, "application/json") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [403, 403, 429, 429]
    assert records_of_this_test().filter(outcome="refused").count() == 2


@pytest.mark.parametrize(
    ("body", "status"), [(READINGS, 200), ({**READINGS, "tenant_id": "beta"}, 403), ({}, 422)]
)
def test_one_budget_pays_for_a_request(
    body: dict[str, Any], status: int, alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    settings.RATE_LIMIT_LIGHT = settings.RATE_LIMIT_HEAVY = 10

    answer = client_of(alice).post("/ai/features/readings", body)

    assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (status, "9")
    assert {name.rpartition(b"}")[2].split(b":")[1] for name in valkey().keys("omarino:rate:*")} == {b"heavy"}


def test_zero_is_no_limit(alice: Principal, client_of: ClientOf, settings: Any) -> None:
    settings.RATE_LIMIT_LIGHT = 0

    answer = client_of(alice).get("/ai/forecasts")

    assert answer.status_code == 200
    assert "RateLimit-Limit" not in answer.headers
    assert valkey().keys("omarino:rate:*") == []


def test_health_and_documents_are_not_limited(client: Any, db: None, settings: Any) -> None:
    settings.RATE_LIMIT_LIGHT = 1

    assert [client.get("/health").status_code for _ in range(3)] == [200] * 3
    assert [client.get("/openapi.json").status_code for _ in range(2)] == [200] * 2


@pytest.mark.parametrize("route", private_routes(), ids=str)
def test_every_route_is_limited(route: Any, alice: Principal, client_of: ClientOf, settings: Any) -> None:
    settings.RATE_LIMIT_LIGHT = settings.RATE_LIMIT_HEAVY = 1
    client = client_of(alice)
    client.generic(route.verb.upper(), route.url(), json.dumps({}), "application/json")

    again = client.generic(route.verb.upper(), route.url(), json.dumps({}), "application/json")

    assert (again.status_code, again.json()["code"]) == (429, "rate_limited")


def test_reading_is_light_and_making_is_heavy_unless_the_view_says_otherwise() -> None:
    found = {str(route): scope_of(route.verb.upper(), route.view) for route in private_routes()}

    assert {scope for route, scope in found.items() if route.startswith("GET ")} == {LIGHT}
    assert {route for route, scope in found.items() if scope == LIGHT and not route.startswith("GET ")} >= {
        "POST /ai/models/<str:model_id>/predict",
        "POST /ai/features/get",
        "POST /ai/anomaly/<uuid:pk>/feedback",
    }
    assert {route for route, scope in found.items() if scope == HEAVY} >= {
        "POST /ai/forecast",
        "POST /ai/anomaly",
        "POST /ai/features/readings",
        "POST /ai/features/get-batch",
        "POST /ai/models/register",
        "POST /ai/models/<str:model_id>/batch-predict",
    }


# Without Valkey


def test_without_valkey_requests_pass_are_counted_and_the_log_says_so_once(
    alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    settings.RATE_LIMIT_LIGHT = 1
    client = client_of(alice)
    settings.CACHES = {"default": {**of_the_service.CACHES["default"], "LOCATION": "redis://127.0.0.1:9/0"}}
    before = RATE_LIMITS_AWAY._value.get()

    with capture_logs() as lines:
        answers = [client.get("/ai/forecasts") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert not any("RateLimit-Limit" in answer.headers for answer in answers)
    assert RATE_LIMITS_AWAY._value.get() - before == 5
    assert [line["event"] for line in lines] == ["valkey_away"]


def test_a_valkey_that_cannot_write_lets_requests_pass(
    alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    settings.RATE_LIMIT_LIGHT = 5
    client = client_of(alice)
    client.get("/ai/forecasts")
    for name in valkey().keys("omarino:rate:*"):
        valkey().delete(name)
        valkey().lpush(name, "not a number")  # somebody else's key: the script fails

    assert client.get("/ai/forecasts").status_code == 200
