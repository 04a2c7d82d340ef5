"""GET and POST /ai/features/sets, GET and DELETE /ai/features/sets/{name}, and what is asked for by such a name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from django.db import connection

from features import set_actions, sets
from features.catalog import FEATURE_SETS
from features.errors import UnknownFeatureSet
from features.models import TenantFeatureSet
from omarino.authentication import Principal
from omarino.permissions import AI_USER, ANOMALY_ANALYST, FORECASTER, MODEL_ADMIN
from tests.conftest import ClientOf
from tests.factories import make_readings

pytestmark = pytest.mark.django_db
SETS = "/ai/features/sets"


def body(**said: Any) -> dict[str, Any]:
    return {"tenant_id": "alpha", "name": "my_set", "features": ["lag_24h", "hour_of_day"], **said}


def defined(client_of: ClientOf, who: Principal, **said: Any) -> dict[str, Any]:
    response = client_of(who).post(SETS, body(tenant_id=who.tenant_id, **said))
    assert response.status_code in (200, 201), response.content
    answer: dict[str, Any] = response.json()
    return answer


def test_the_sets_are_those_of_the_contract(alice: Principal, client_of: ClientOf) -> None:
    answer = client_of(alice).get(SETS).json()

    assert list(answer["feature_sets"]) == list(FEATURE_SETS)
    assert answer["total"] == 3
    assert all(each["built_in"] for each in answer["feature_sets"].values())


def test_a_set_of_ones_own_is_answered_in_its_order(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(48.0))
    assert defined(client_of, alice)["version"] == 1
    question = {"tenant_id": "alpha", "feature_set": "my_set", "timestamp": "2025-01-02T12:00:00Z"}

    one = client_of(alice).post("/ai/features/get", {**question, "asset_id": "main-meter"}).json()
    many = client_of(alice).post("/ai/features/get-batch", {**question, "asset_ids": ["main-meter"]}).json()

    assert one["feature_set"] == many["feature_set"] == "my_set"
    assert list(one["features"].items()) == [("lag_24h", 12.0), ("hour_of_day", 12)]
    assert many["assets"][0]["features"] == one["features"]


def test_it_is_listed_with_the_built_in_ones_for_its_tenant_alone(
    alice: Principal, bob: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    defined(client_of, alice, description="for the small sites")

    listed = client_of(bob).get(SETS).json()

    assert listed["total"] == 4
    assert listed["feature_sets"]["my_set"]["description"] == "for the small sites"
    assert listed["feature_sets"]["my_set"]["built_in"] is False
    assert "my_set" not in client_of(charlie).get(SETS).json()["feature_sets"]
    refused = client_of(charlie).post(
        "/ai/features/get", {"tenant_id": "gamma", "asset_id": "a", "feature_set": "my_set"}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_feature_set")
    assert "my_set" not in refused.json()["detail"].partition("There are")[2]


def test_other_features_make_a_version_and_the_same_ones_none(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    assert client.post(SETS, body()).status_code == 201
    again = client.post(SETS, body(description="better said", stored=True))
    assert (again.status_code, again.json()["version"], again.json()["stored"]) == (200, 1, True)
    assert client.post(SETS, body(features=["lag_1h"])).json()["version"] == 2

    assert client.get(f"{SETS}/my_set").json()["features"] == ["lag_1h"]
    assert client.get(f"{SETS}/my_set?version=1").json()["features"] == ["lag_24h", "hour_of_day"]
    assert client.get(f"{SETS}/my_set?version=3").status_code == 404
    assert client.get(f"{SETS}/my_set?version=x").status_code == 422
    assert sets.resolve("alpha", "my_set", 1).names == ("lag_24h", "hour_of_day")


def test_a_removed_set_is_gone_but_for_who_names_its_version(alice: Principal, client_of: ClientOf) -> None:
    defined(client_of, alice)
    client = client_of(alice)

    assert client.delete(f"{SETS}/my_set").json()["status"] == "deleted"

    assert client.get(SETS).json()["total"] == 3
    assert client.get(f"{SETS}/my_set").status_code == 404
    assert client.delete(f"{SETS}/my_set").status_code == 404
    assert client.get(f"{SETS}/my_set?version=1").json()["removed_at"]
    assert sets.resolve("alpha", "my_set", 1).version == 1
    with pytest.raises(UnknownFeatureSet):
        sets.resolve("alpha", "my_set")
    assert defined(client_of, alice, features=["month"])["version"] == 2


def test_a_built_in_set_is_neither_shadowed_nor_removed(alice: Principal, client_of: ClientOf) -> None:
    refused = client_of(alice).post(SETS, body(name="forecast_basic"))

    assert (refused.status_code, refused.json()["code"]) == (409, "feature_set_name_taken")
    assert client_of(alice).delete(f"{SETS}/forecast_basic").status_code == 404
    assert client_of(alice).get(f"{SETS}/forecast_basic").json()["built_in"] is True


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"features": ["lag_24h", "made_up"]}, "unknown_feature"),
        ({"features": []}, "validation_failed"),
        ({"features": "lag_24h"}, "validation_failed"),
        ({"features": ["lag_24h"] * 101}, "validation_failed"),
        ({"name": "My Set"}, "validation_failed"),
        ({"name": "../x"}, "validation_failed"),
        ({"name": "x" * 65}, "validation_failed"),
        ({"description": "x" * 501}, "validation_failed"),
    ],
)
def test_what_makes_no_set_is_refused(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], code: str
) -> None:
    response = client_of(alice).post(SETS, body(**said))

    assert (response.status_code, response.json()["code"]) == (422, code)
    assert not TenantFeatureSet.objects.exists()


@pytest.mark.parametrize(
    ("role", "status"), [(AI_USER, 403), (ANOMALY_ANALYST, 403), (FORECASTER, 201), (MODEL_ADMIN, 201)]
)
def test_who_makes_forecasts_or_trains_may_define_one(
    alice: Principal, client_of: ClientOf, role: str, status: int
) -> None:
    assert client_of(alice, roles=frozenset({role})).post(SETS, body()).status_code == status


def test_a_tenant_has_so_many_sets_and_no_more(
    alice: Principal, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_actions, "MOST_SETS", 1)
    defined(client_of, alice)

    refused = client_of(alice).post(SETS, body(name="another"))

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_feature_sets")
    assert defined(client_of, alice, features=["month"])["version"] == 2


@pytest.mark.django_db(transaction=True)
def test_two_who_define_at_once_make_two_versions(alice: Principal) -> None:
    def define(feature: str) -> int:
        try:
            row, _ = set_actions.define_set(
                tenant_id="alpha", name="my_set", features=[feature], made_by="alice"
            )
            return row.version
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as together:
        versions = list(together.map(define, ["month", "quarter", "lag_1h", "lag_24h"]))

    assert sorted(versions) == [1, 2, 3, 4]


def test_the_time_of_its_making_is_kept(alice: Principal, client_of: ClientOf) -> None:
    defined(client_of, alice)

    row = TenantFeatureSet.objects.get()

    assert row.made_by == "alice"
    assert abs((row.made_at - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.parametrize("name", ["a%00b", "%F0%9F%94%8B", "x" * 300, "..", "a%2Fb"])
def test_an_odd_name_in_the_address_is_no_set(alice: Principal, client_of: ClientOf, name: str) -> None:
    for ask in (client_of(alice).get, client_of(alice).delete):
        assert ask(f"{SETS}/{name}").status_code in (400, 404)
