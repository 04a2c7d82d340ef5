"""POST /ai/features/get, POST /ai/features/get-batch and GET /ai/features/sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache, caches
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis.exceptions import ConnectionError as NoConnection
from structlog.testing import capture_logs

from features import online
from features.actions import edit_asset, remove_asset
from features.catalog import FEATURE_SETS, FEATURES
from features.models import Reading
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_asset, make_readings, make_weather

URL = "/ai/features/get"
BATCH = "/ai/features/get-batch"
START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT = START + 200 * HOUR  # 9 January, 08:00


@pytest.fixture(autouse=True)
def cold_cache() -> None:
    cache.clear()


def body(**said: Any) -> dict[str, Any]:
    return {"tenant_id": "alpha", "asset_id": "main-meter", "timestamp": f"{AT:%Y-%m-%dT%H:%M:%SZ}", **said}


def get(client_of: ClientOf, who: Principal, **said: Any) -> dict[str, Any]:
    response = client_of(who).post(URL, body(**said))
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def test_a_set_answers_with_exactly_its_features(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))
    make_weather(alice, {"temperature": [-4.0], "humidity": [80.5]}, start=AT)

    answer = get(client_of, alice, feature_set="forecast_advanced")

    assert answer.pop("computed_at").endswith("Z")
    assert answer == {
        "tenant_id": "alpha",
        "asset_id": "main-meter",
        "timestamp": "2025-01-09T08:00:00Z",
        "feature_set": "forecast_advanced",
        "features": {
            "hour_of_day": 8,
            "day_of_week": 3,
            "is_weekend": 0,
            "lag_1h": 199.0,
            "lag_24h": 176.0,
            "rolling_avg_24h": 187.5,  # of 176..199
            "day_of_month": 9,
            "month": 1,
            "is_business_hours": 0,
            "lag_168h": 32.0,
            "temperature": -4.0,
            "humidity": 80.5,
            "solar_irradiance": None,
            "rolling_std_24h": pytest.approx(50**0.5),  # n (n + 1) / 12 of 24 steps of one
        },
        "feature_count": 14,
        "cache_hit": False,
    }


def test_features_are_had_by_name(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))

    answer = get(client_of, alice, feature_names=["hourly_avg", "quarter", "hourly_avg"])

    assert (answer["feature_set"], answer["features"]) == (None, {"hourly_avg": 199.0, "quarter": 1})


def test_a_measured_zero_is_no_null(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, [0.0], start=AT - HOUR)

    answer = get(client_of, alice, feature_names=["lag_1h", "lag_24h"])

    assert answer["features"] == {"lag_1h": 0.0, "lag_24h": None}


def test_the_calendar_is_that_of_the_assets_place(alice: Principal, client_of: ClientOf) -> None:
    make_asset(alice, timezone="Asia/Kolkata")

    answer = get(client_of, alice, feature_names=["hour_of_day", "is_business_hours"])

    assert answer["features"] == {"hour_of_day": 13, "is_business_hours": 1}


def test_nothing_further_back_than_asked_for_is_used(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))

    answer = get(client_of, alice, feature_names=["lag_1h", "lag_24h"], lookback_hours=23)

    assert answer["features"] == {"lag_1h": 199.0, "lag_24h": None}


def test_what_was_known_then_can_be_asked(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))
    Reading.objects.update(available_at=AT)
    Reading.objects.filter(timestamp=AT - HOUR).update(available_at=AT + HOUR)

    def lag(known_at: datetime) -> Any:
        said = {"feature_names": ["lag_1h"], "as_known_at": known_at.isoformat()}
        return get(client_of, alice, **said)["features"]["lag_1h"]

    assert (lag(AT), lag(AT + HOUR)) == (None, 199.0)


def test_without_a_time_it_is_as_of_this_second(alice: Principal, client_of: ClientOf) -> None:
    now = datetime.now(UTC)
    make_readings(alice, [7.0], start=now - timedelta(minutes=70))

    answer = get(client_of, alice, feature_names=["lag_1h"], timestamp=None)

    assert abs(datetime.fromisoformat(answer["timestamp"]) - now) < timedelta(seconds=30)
    assert answer["features"] == {"lag_1h": 7.0}


# The cache


def test_the_second_time_it_comes_from_the_cache_the_same(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))

    first, second = (get(client_of, alice, feature_set="forecast_advanced") for _ in range(2))

    assert (first.pop("cache_hit"), second.pop("cache_hit")) == (False, True)
    assert first == second
    assert list(first["features"]) == list(FEATURE_SETS["forecast_advanced"].names)


def test_a_hit_costs_one_query(alice: Principal, client_of: ClientOf) -> None:
    """The version of the asset's data, so that a reading just stored is in the next answer."""
    make_readings(alice, np.arange(300.0))
    client, asked = client_of(alice), body(feature_set="forecast_basic")
    client.post(URL, asked)

    with CaptureQueriesContext(connection) as queries:
        assert client.post(URL, asked).json()["cache_hit"]

    assert len(queries.captured_queries) == 1, queries.captured_queries


def test_a_reading_just_stored_is_in_the_next_answer(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))
    get(client_of, alice, feature_set="forecast_basic")
    make_readings(alice, [1000.0], start=AT - HOUR)

    answer = get(client_of, alice, feature_set="forecast_basic")

    assert (answer["cache_hit"], answer["features"]["lag_1h"]) == (False, 1000.0)


def test_the_same_readings_again_leave_the_cache_as_it_is(alice: Principal, client_of: ClientOf) -> None:
    for _ in range(2):
        make_readings(alice, np.arange(300.0))
        answer = get(client_of, alice, feature_set="forecast_basic")

    assert answer["cache_hit"]


def test_an_asset_made_again_does_not_inherit_what_was_cached(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, np.arange(300.0))
    get(client_of, alice, feature_set="forecast_basic")
    remove_asset(tenant_id="alpha", asset_id="main-meter")
    make_readings(alice, np.arange(300.0) + 5)

    assert get(client_of, alice, feature_set="forecast_basic")["features"]["lag_1h"] == 204.0


def test_another_time_zone_is_another_value(alice: Principal, client_of: ClientOf) -> None:
    make_asset(alice)
    get(client_of, alice, feature_names=["hour_of_day"])
    edit_asset(tenant_id="alpha", asset_id="main-meter", changes={"timezone": "Europe/Berlin"})

    assert get(client_of, alice, feature_names=["hour_of_day"])["features"] == {"hour_of_day": 9}


@pytest.mark.parametrize(
    "other",
    [
        {"timestamp": "2025-01-09T08:00:01Z"},
        {"lookback_hours": 100},
        {"as_known_at": "2025-01-01T00:00:00Z"},
        {"feature_set": None, "feature_names": ["lag_1h"]},
    ],
    ids=str,
)
def test_whatever_the_value_depends_on_is_part_of_its_key(
    alice: Principal, client_of: ClientOf, other: dict[str, Any]
) -> None:
    make_readings(alice, np.arange(300.0))
    get(client_of, alice, feature_set="forecast_basic")

    assert not get(client_of, alice, **{"feature_set": "forecast_basic", **other})["cache_hit"]


def test_tenants_do_not_share_what_is_cached(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, np.arange(300.0))
    make_readings(charlie, np.arange(300.0) + 1000)
    get(client_of, alice, feature_set="forecast_basic")

    answer = get(client_of, charlie, tenant_id="gamma", feature_set="forecast_basic")

    assert (answer["cache_hit"], answer["features"]["lag_1h"]) == (False, 1199.0)


def test_without_the_cache_answers_are_the_same_and_the_log_says_so_once(
    alice: Principal, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    make_readings(alice, np.arange(300.0))
    expected = get(client_of, alice, feature_set="forecast_advanced")["features"]
    door = online._Door(closed_for_s=0)  # asks again each time, as after a while
    monkeypatch.setattr(online, "DOOR", door)
    reachable = settings.CACHES["default"]["LOCATION"]
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:9/0"}}
    with pytest.raises(NoConnection):
        caches["default"].get("anything")

    with capture_logs() as lines:
        answers = [get(client_of, alice, feature_set="forecast_advanced") for _ in range(3)]

    assert [(answer["features"], answer["cache_hit"]) for answer in answers] == [(expected, False)] * 3
    said = [line["event"] for line in lines]
    assert [event for event in said if event.startswith("feature_cache")] == ["feature_cache_away"]
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": reachable}}
    with capture_logs() as lines:
        assert get(client_of, alice, feature_set="forecast_advanced")["cache_hit"]
    assert [line["event"] for line in lines] == ["feature_cache_back"]


# Many assets


def test_a_batch_says_of_each_asset_what_it_would_say_alone(alice: Principal, client_of: ClientOf) -> None:
    steps = {"quarter-hourly": 15, "hourly": 60, "daily": 1440}
    for asset_id, minutes in steps.items():
        make_readings(
            alice,
            np.random.default_rng(minutes).normal(size=1500),
            asset_id=asset_id,
            interval_minutes=minutes,
            timezone="Europe/Berlin",
            start=AT - timedelta(minutes=1400 * minutes),
        )
        make_weather(alice, {"temperature": np.arange(900.0)}, asset_id=asset_id)
    asked = body(feature_names=list(FEATURES))
    del asked["asset_id"]

    response = client_of(alice).post(BATCH, {**asked, "asset_ids": [*steps, "nobody", "hourly"]})
    alone = {name: get(client_of, alice, asset_id=name, feature_names=list(FEATURES)) for name in steps}

    answer = response.json()
    assert (answer["unknown_assets"], answer["timestamp"]) == (["nobody"], "2025-01-09T08:00:00Z")
    assert [asset["asset_id"] for asset in answer["assets"]] == list(steps)
    assert all(alone[name]["cache_hit"] for name in steps)
    cache.clear()
    for asset in answer["assets"]:
        fresh = get(client_of, alice, asset_id=asset["asset_id"], feature_names=list(FEATURES))
        assert not fresh["cache_hit"]
        assert asset["features"] == fresh["features"]
        assert asset["features"]["lag_24h"] is not None


def test_a_batch_is_one_query_of_readings_however_many_assets(alice: Principal, client_of: ClientOf) -> None:
    names = [f"meter-{number}" for number in range(20)]
    for name in names:
        make_asset(alice, asset_id=name)
    client = client_of(alice)
    asked = {"tenant_id": "alpha", "asset_ids": names, "feature_set": "forecast_advanced"}

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert len(client.post(BATCH, asked).json()["assets"]) == 20

    tables = ("features_asset", "timeseries_data", "weather_features")
    of_ours = [query["sql"] for query in queries if any(table in query["sql"] for table in tables)]
    assert len(of_ours) == 3


# What is refused


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ({"feature_set": "best"}, "unknown_feature_set", "forecast_advanced"),
        ({"feature_names": ["lag_1h", "mood"]}, "unknown_feature", "mood"),
        ({}, "features_not_chosen", "forecast_basic"),
        ({"feature_set": "forecast_basic", "feature_names": ["lag_1h"]}, "features_not_chosen", "not both"),
        ({"feature_set": "forecast_basic", "lookback_hours": 0}, "validation_failed", "lookback_hours"),
        ({"feature_set": "forecast_basic", "lookback_hours": 8761}, "validation_failed", "lookback_hours"),
        ({"feature_set": "forecast_basic", "lookback_hours": "12"}, "validation_failed", "lookback_hours"),
        ({"feature_set": "forecast_basic", "timestamp": "soon"}, "validation_failed", "timestamp"),
        ({"feature_set": "forecast_basic", "timestamp": "0001-01-01T00:00:00Z"}, "validation_failed", "1970"),
        ({"feature_set": "forecast_basic", "timestamp": "9999-12-31T00:00:00Z"}, "validation_failed", "2199"),
        ({"feature_names": []}, "validation_failed", "feature_names"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], code: str, text: str
) -> None:
    make_asset(alice)

    response = client_of(alice).post(URL, body(**said))

    assert (response.status_code, response.json()["code"]) == (422, code)
    assert text in response.content.decode()


def test_an_asset_that_is_not_there_is_not_answered_for(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    make_asset(charlie)

    response = client_of(alice).post(URL, body(feature_set="forecast_basic"))

    assert (response.status_code, response.json()["code"]) == (404, "asset_unknown")


def test_more_than_a_thousand_assets_are_too_many(alice: Principal, client_of: ClientOf) -> None:
    names = [f"meter-{number}" for number in range(1001)]

    response = client_of(alice).post(
        BATCH, {"tenant_id": "alpha", "asset_ids": names, "feature_set": "forecast_basic"}
    )

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


# What there is


def test_the_sets_are_listed_with_all_features_there_are(alice: Principal, client_of: ClientOf) -> None:
    answer = client_of(alice).get("/ai/features/sets").json()

    assert answer["total"] == 3
    basic = answer["feature_sets"]["forecast_basic"]
    assert set(basic) >= {"name", "description", "features", "use_cases", "latency", "storage"}
    assert basic["features"] == list(FEATURE_SETS["forecast_basic"].names)
    assert [feature["name"] for feature in answer["features"]] == list(FEATURES)
    assert {"name": "lag_24h", "looks_back_hours": 24.0}.items() <= answer["features"][8].items()
