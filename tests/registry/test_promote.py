"""PUT /ai/models/{id}/promote, its rules, and what the history says of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.utils import DatabaseError

from omarino.authentication import Principal
from registry.actions import promote_version
from registry.models import ModelVersion, Reference, RegisteredModel, Stage, Transition
from tests.conftest import ClientOf
from tests.factories import make_version

pytestmark = pytest.mark.django_db


def promote(client: Any, version: ModelVersion, target: str = "production", reason: str = "") -> Any:
    return client.put(f"/ai/models/{version}/promote", {"target_stage": target, "reason": reason})


def test_promotion_archives_the_incumbent(alice: Principal, client_of: ClientOf) -> None:
    incumbent = make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION, metrics={"mae": 2.0})
    candidate = make_version(alice, version="v1.1.0", metrics={"mae": 1.0})

    response = promote(client_of(alice), candidate, reason="half the error")

    answer = response.json()
    assert response.status_code == 200, answer
    assert (answer["previous_stage"], answer["current_stage"]) == ("staging", "production")
    assert "v1.0.0" in answer["message"]
    incumbent.refresh_from_db()
    assert incumbent.stage == Stage.ARCHIVED
    newest = client_of(alice).get(f"/ai/models/{candidate}").json()["history"][-1]
    assert (newest["by"], newest["reason"], newest["incumbent"]) == ("alice", "half the error", "v1.0.0")
    assert (newest["metrics"], newest["incumbent_metrics"]) == ({"mae": 1.0}, {"mae": 2.0})


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [
        (Stage.STAGING, {"production", "archived"}),
        (Stage.PRODUCTION, {"archived"}),
        (Stage.ARCHIVED, {"staging", "production"}),
    ],
)
def test_only_some_ways_lead_from_a_stage(
    alice: Principal, client_of: ClientOf, stage: Stage, allowed: set[str]
) -> None:
    for index, target in enumerate(Stage.values):
        version = make_version(alice, name=f"model-{index}", stage=stage)
        response = promote(client_of(alice), version, target)
        assert response.status_code == (200 if target in allowed else 409)
        if target not in allowed:
            assert response.json()["code"] == "transition_refused"


def test_a_rollback_puts_the_archived_version_back(alice: Principal, client_of: ClientOf) -> None:
    old = make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION)
    new = make_version(alice, version="v1.1.0")
    client = client_of(alice)
    promote(client, new)

    assert promote(client, old, reason="v1.1.0 misses the peaks").status_code == 200

    assert [row.version for row in ModelVersion.objects.production()] == ["v1.0.0"]
    new.refresh_from_db()
    assert new.stage == Stage.ARCHIVED


@pytest.mark.django_db(transaction=True)
def test_twenty_promotions_at_once_leave_one_in_production_and_a_true_history(alice: Principal) -> None:
    versions = [make_version(alice, version=f"v1.{index}.0") for index in range(20)]

    def promote_one(version: ModelVersion) -> None:
        try:
            promote_version(
                tenant_id="alpha",
                reference=Reference.parse(str(version)),
                target_stage="production",
                by=alice,
            )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(promote_one, versions))

    assert ModelVersion.objects.production().count() == 1
    assert ModelVersion.objects.filter(stage=Stage.ARCHIVED).count() == 19
    in_production: str | None = None
    entered: list[str] = []
    for row in Transition.objects.exclude(from_stage="").order_by("id"):
        if row.to_stage == Stage.PRODUCTION:
            assert in_production is None, "the one before was not archived first"
            assert row.incumbent == (entered[-1] if entered else "")
            in_production = row.version
            entered.append(row.version)
        else:
            assert row.version == in_production
            in_production = None
    assert sorted(entered) == sorted(version.version for version in versions)
    assert ModelVersion.objects.production().get().version == in_production
    times = list(Transition.objects.exclude(from_stage="").order_by("id").values_list("at", flat=True))
    assert times == sorted(times)


def test_the_database_itself_holds_one_production_version(alice: Principal) -> None:
    make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION)

    with pytest.raises(IntegrityError, match="registry_one_production"):
        make_version(alice, version="v1.1.0", stage=Stage.PRODUCTION)


@pytest.mark.parametrize(
    "change", ["UPDATE registry_transition SET reason = 'x'", "DELETE FROM registry_transition"]
)
def test_history_cannot_be_changed(alice: Principal, change: str) -> None:
    make_version(alice)

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)

    assert Transition.objects.count() == 1


# What was in production then


def test_production_then_and_now(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    old = make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION)
    promote(client, make_version(alice, version="v1.1.0"), reason="better")
    before, after = (
        Transition.objects.get(version=version, to_stage=Stage.PRODUCTION).at
        for version in ("v1.0.0", "v1.1.0")
    )

    def ask(moment: Any) -> Any:
        return client.get("/ai/models/alpha:site-load/production", {"as_of": moment.isoformat()})

    assert ask(before).json()["version"] == "v1.0.0"
    assert ask(after - timedelta(microseconds=1)).json()["version"] == "v1.0.0"
    assert (ask(after).json()["version"], ask(after).json()["reason"]) == ("v1.1.0", "better")
    assert client.get("/ai/models/alpha:site-load/production").json()["version"] == "v1.1.0"
    assert ask(before - timedelta(days=1)).json()["code"] == "no_production_version"
    then = client.get(f"/ai/models/{old}", {"as_of": before.isoformat()}).json()
    assert (then["stage"], client.get(f"/ai/models/{old}").json()["stage"]) == ("production", "archived")


def test_after_the_last_one_is_archived_nothing_is_in_production(
    alice: Principal, client_of: ClientOf
) -> None:
    client = client_of(alice)
    promote(client, make_version(alice, stage=Stage.PRODUCTION), "archived")

    for address in ("/ai/models/alpha:site-load/production", "/ai/models/alpha:site-load:production"):
        response = client.get(address)
        assert (response.status_code, response.json()["code"]) == (409, "no_production_version")


# Gates


def set_gates(client: Any, **gates: Any) -> None:
    response = client.put("/ai/models/alpha:site-load/gates", gates)
    assert response.status_code == 200, response.json()


@pytest.mark.parametrize(
    ("metric", "before", "now", "passes"),
    [
        ("mae", 2.0, 2.1, True),  # 5 % worse is just allowed
        ("mae", 2.0, 2.11, False),
        ("mae", 2.0, 1.0, True),
        ("r2_score", 0.80, 0.76, True),  # higher is better: 0.80 - 5 % of it
        ("r2_score", 0.80, 0.75, False),
        ("r2_score", -0.5, -0.52, True),  # 0.02 worse, 0.025 allowed
        ("r2_score", -0.5, -0.53, False),
        ("mae", 0.0, 0.001, False),
    ],
)
def test_a_version_may_be_worse_only_by_so_much(
    alice: Principal, client_of: ClientOf, metric: str, before: float, now: float, passes: bool
) -> None:
    client = client_of(alice)
    make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION, metrics={metric: before})
    candidate = make_version(alice, version="v1.1.0", metrics={"custom_metrics": {metric: now}})
    set_gates(client, not_worse=[{"metric": metric, "percent": 5}])

    response = promote(client, candidate)

    assert response.status_code == (200 if passes else 409), response.json()
    if not passes:
        answer = response.json()
        assert answer["code"] == "promotion_refused"
        assert f"{metric} is {now:g}, the incumbent's is {before:g}" in answer["detail"]
        assert ModelVersion.objects.production().get().version == "v1.0.0"


def test_required_metrics_must_be_there(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    version = make_version(alice, metrics={"rmse": 1.0})
    set_gates(client, required_metrics=["rmse", "mae"])

    answer = promote(client, version).json()

    assert (answer["code"], answer["findings"]) == (
        "promotion_refused",
        [{"rule": "has mae", "detail": "mae was not given."}],
    )


def test_two_people_are_needed_where_the_rules_say_so(
    alice: Principal, bob: Principal, client_of: ClientOf
) -> None:
    version = make_version(alice)
    set_gates(client_of(alice), two_person=True)
    client_of(alice).post(f"/ai/models/{version}/approve")
    assert promote(client_of(alice), version).status_code == 409

    answer = client_of(bob).post(f"/ai/models/{version}/approve", {"reason": "looked at the peaks"}).json()

    assert answer["approved_by"] == ["alice", "bob"]
    assert promote(client_of(alice), version).status_code == 200


def test_a_rollback_does_not_wait_for_the_rules(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    old = make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION, metrics={"mae": 9.0})
    promote(client, make_version(alice, version="v1.1.0", metrics={"mae": 1.0}))
    set_gates(client, not_worse=[{"metric": "mae", "percent": 0}], two_person=True)

    assert promote(client, old).status_code == 200


def test_rules_are_read_as_they_were_set(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    make_version(alice)
    set_gates(client, required_metrics=["mae"], two_person=True)

    assert client.get("/ai/models/alpha:site-load/gates").json() == {
        "required_metrics": ["mae"],
        "not_worse": [],
        "two_person": True,
    }
    assert RegisteredModel.objects.get().gates["two_person"] is True
    assert (
        client.put("/ai/models/alpha:site-load/gates", {"not_worse": [{"metric": "mae"}]}).status_code == 422
    )
