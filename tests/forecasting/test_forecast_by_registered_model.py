"""POST /ai/forecast with `model_name` of a registered model."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import lightgbm
import numpy as np
import pytest

from features import compute
from features.catalog import feature_set
from forecasting.models import Forecast
from forecasting.recursive import measured_bands
from forecasting.registered import forecaster_of
from omarino.authentication import Principal
from registry.models import ModelVersion, Stage
from tests.conftest import ClientOf
from tests.factories import make_readings, make_version, make_weather
from tests.registry import models_made

pytestmark = pytest.mark.django_db
START = datetime(2025, 3, 3, tzinfo=UTC)
DAYS, TRAINED_DAYS = 70, 42
HOUR_US = 3_600_000_000
BASIC = {"feature_set": "forecast_basic", "feature_set_version": 1, "interval_minutes": 60}
TRAINED_UNTIL = (START + timedelta(days=TRAINED_DAYS)).isoformat()


@lru_cache
def load() -> np.ndarray[Any, Any]:
    hours = np.arange(DAYS * 24)
    level = np.where(hours // 24 % 7 < 5, 60.0, 40.0)
    noise = np.random.default_rng(7).normal(0, 1, hours.size)
    return np.asarray(level + 20 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi) + noise)


def times_us(count: int) -> np.ndarray[Any, Any]:
    return int(START.timestamp() * 1e6) + np.arange(count, dtype=np.int64) * HOUR_US


@lru_cache
def booster(name: str = "forecast_basic") -> lightgbm.Booster:
    """Trained as a caller would: on the features of each hour, as of that hour."""
    declared, known = feature_set(name), TRAINED_DAYS * 24
    past = compute.Past(times_us(known), load()[:known], interval_minutes=60)
    columns = compute.rows(declared.features, past, times_us(known))
    table = np.column_stack([columns[each] for each in declared.names])[200:]
    data = lightgbm.Dataset(table, load()[200:known], feature_name=list(declared.names))
    return lightgbm.train({"verbosity": -1, "num_threads": 1, "num_leaves": 15}, data, num_boost_round=60)


def registered(owner: Principal, *, name: str = "forecast_basic", **metadata: Any) -> ModelVersion:
    return make_version(
        owner,
        artifact=booster(name).model_to_string().encode(),
        stage=Stage.PRODUCTION,
        metadata={"framework": "lightgbm", **BASIC, "trained_until": TRAINED_UNTIL, **metadata},
    )


def ask(client: Any, **changes: Any) -> Any:
    body = {
        "tenant_id": "alpha",
        "asset_id": "main-meter",
        "forecast_type": "load",
        "model_name": "site-load",
        "as_of": (START + timedelta(days=DAYS)).isoformat(),
        **changes,
    }
    return client.post("/ai/forecast", body)


class Weighted:
    """Of the last hour a half, of the same hour yesterday and of the day a quarter each."""

    weights = [0.0, 0.0, 0.0, 0.5, 0.25, 0.25]

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows, dtype=np.float64) @ self.weights


def network_forecasts(client: Any, content: bytes) -> None:
    """That it is registered, and forecasts as one worked by hand does: `content` must answer as `Weighted` does."""
    said = {**BASIC, "trained_until": TRAINED_UNTIL, "feature_names": feature_set("forecast_basic").names}
    body = {
        "tenant_id": "alpha",
        "model_name": "site-load",
        "version": "v1.0.0",
        "stage": "production",
        "metadata": {"framework": "network", **said},
        "model_file": base64.b64encode(content).decode(),
    }
    registered = client.post("/ai/models/register", body)
    assert registered.status_code == 201, registered.json()

    answer = ask(client, horizon_hours=3)

    assert answer.status_code == 200, answer.json()
    points = [step["point_forecast"] for step in answer.json()["forecasts"]]
    assert points == pytest.approx(by_hand(Weighted(), load(), 3), rel=1e-5)  # networks count in float32
    assert answer.json()["metadata"]["warnings"] == []


def by_hand(model: Any, values: np.ndarray[Any, Any], steps: int) -> list[float]:
    """forecast_basic, one hour after the other, from readings and from what was predicted before."""
    line: list[float] = values.tolist()
    for _ in range(steps):
        at = START + timedelta(hours=len(line))
        row = [at.hour, at.weekday(), at.weekday() >= 5, line[-1], line[-24], float(np.mean(line[-24:]))]
        line.append(float(model.predict([row])[0]))
    return line[-steps:]


def test_it_is_asked_step_by_step_with_features_as_of_each_step(
    alice: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, load(), start=START)
    version = registered(alice)

    answer = ask(client_of(alice), horizon_hours=30).json()

    points = [step["point_forecast"] for step in answer["forecasts"]]
    assert points == pytest.approx(by_hand(booster(), load(), 30), rel=1e-9)
    assert (answer["model_name"], answer["model_version"]) == ("site-load", version.version)
    assert answer["metadata"]["features_used"] == list(feature_set("forecast_basic").names)
    assert answer["metadata"]["warnings"] == []
    assert answer["metadata"]["training_date"] is None


def test_a_keras_network_forecasts_from_its_own_process(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)

    network_forecasts(client_of(alice), models_made.keras_weighted(Weighted.weights))


def test_its_band_is_measured_on_this_history(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    registered(alice)

    answer = ask(client_of(alice)).json()

    held = [
        load()[origin : origin + 24] - by_hand(booster(), load()[:origin], 24)
        for origin in range(TRAINED_DAYS * 24, (DAYS - 1) * 24 + 1, 24)
    ]
    assert answer["metadata"]["mae"] == pytest.approx(float(np.mean(np.abs(held))), rel=1e-6)
    assert 0.7 <= answer["metadata"]["coverage"] <= 0.95
    for step in answer["forecasts"]:
        quantiles = step["quantiles"]
        assert quantiles["p10"] < quantiles["p50"] < quantiles["p90"]
        assert 0 < step["confidence"] <= 1


def test_nothing_read_after_as_of_is_used(alice: Principal, client_of: ClientOf) -> None:
    known = 60 * 24
    make_readings(alice, np.append(load()[:known], 1e6 * np.ones(48)), start=START)
    registered(alice)

    answer = ask(client_of(alice), as_of=(START + timedelta(hours=known)).isoformat(), horizon_hours=3).json()

    assert [step["point_forecast"] for step in answer["forecasts"]] == pytest.approx(
        by_hand(booster(), load()[:known], 3), rel=1e-9
    )


def test_the_same_question_has_the_same_answer_and_digest(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    registered(alice)

    first, second = ask(client_of(alice)).json(), ask(client_of(alice)).json()

    assert first["forecasts"] == second["forecasts"]
    one, other = Forecast.objects.order_by("made_at")
    assert one.inputs_digest == other.inputs_digest
    assert (one.model_name, one.model_version) == ("site-load", "v1.0.0")


def test_other_bytes_under_the_same_name_are_another_forecast(alice: Principal) -> None:
    version = registered(alice)
    before = forecaster_of(version).identity

    version.sha256 = "f" * 64

    assert forecaster_of(version).identity != before


def test_a_history_in_the_body_serves_as_well(alice: Principal, client_of: ClientOf) -> None:
    registered(alice)
    history = [
        {"timestamp": (START + timedelta(hours=hour)).isoformat(), "value": value}
        for hour, value in enumerate(load().tolist())
    ]

    answer = ask(client_of(alice), historical_data=history, horizon_hours=5).json()

    assert [step["point_forecast"] for step in answer["forecasts"]] == pytest.approx(
        by_hand(booster(), load(), 5), rel=1e-9
    )


def test_gaps_and_a_clock_of_its_own_do_not_stop_it(alice: Principal, client_of: ClientOf) -> None:
    holed = load().copy()
    make_readings(alice, holed[: 30 * 24], start=START, timezone="Europe/Berlin")
    make_readings(alice, holed[32 * 24 :], start=START + timedelta(days=32))
    registered(alice)

    answer = ask(client_of(alice)).json()

    assert len(answer["forecasts"]) == 24
    assert all(np.isfinite(step["point_forecast"]) for step in answer["forecasts"])


def test_weather_that_is_not_there_is_said(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    make_weather(alice, {"temperature": np.full((DAYS + 2) * 24, 11.0)}, start=START)
    registered(alice, name="forecast_advanced", feature_set="forecast_advanced")

    warnings = ask(client_of(alice), horizon_hours=170 - 2).json()["metadata"]["warnings"]

    assert any("humidity" in warning for warning in warnings)
    assert not any("takes temperature" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"trained_until": None}, "does not say until when it was trained"),
        ({"trained_until": "last week"}, "does not say until when it was trained"),
        ({"trained_until": (START + timedelta(days=DAYS - 5)).isoformat()}, "days of this history follow"),
    ],
)
def test_a_band_measured_on_what_the_model_knew_is_said_to_be(
    alice: Principal, client_of: ClientOf, metadata: dict[str, Any], said: str
) -> None:
    make_readings(alice, load(), start=START)
    registered(alice, **metadata)

    warnings = ask(client_of(alice)).json()["metadata"]["warnings"]

    assert any(said in warning for warning in warnings)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"feature_set": None}, "must name a feature_set"),
        ({"feature_set": "mine"}, "must name a feature_set"),
        ({"feature_set": ["forecast_basic"]}, "must name a feature_set"),
        ({"feature_set_version": 2}, "forecast_basic is at version 1"),
        ({"feature_set": "anomaly_detection"}, "which anomaly_detection does not have"),
        ({"interval_minutes": 15}, "steps of 15 minutes"),
    ],
)
def test_what_it_cannot_be_asked_is_refused_with_the_reason(
    alice: Principal, client_of: ClientOf, metadata: dict[str, Any], said: str
) -> None:
    make_readings(alice, load(), start=START)
    registered(alice, **metadata)

    response = ask(client_of(alice))

    assert (response.status_code, response.json()["code"]) == (409, "model_cannot_forecast")
    assert said in response.json()["detail"]
    assert not Forecast.objects.exists()


def test_a_classifier_does_not_forecast(alice: Principal, client_of: ClientOf) -> None:
    make_version(
        alice, artifact=models_made.lightgbm_text(5, "binary"), stage=Stage.PRODUCTION, metadata=BASIC
    )

    assert "classes" in ask(client_of(alice)).json()["detail"]


def test_too_short_a_history_says_how_much_is_needed(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load()[-48:], start=START + timedelta(days=DAYS - 2))
    registered(alice)

    response = ask(client_of(alice))

    assert (response.status_code, response.json()["code"]) == (422, "series_too_short")
    need = response.json()["need"]
    make_readings(alice, load()[-need:], start=START + timedelta(hours=DAYS * 24 - need))
    assert ask(client_of(alice)).status_code == 200


def test_another_tenants_model_is_not_there(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    registered(charlie)
    make_readings(alice, load(), start=START)

    assert ask(client_of(alice)).json()["code"] == "no_production_version"


def test_a_promotion_changes_the_next_forecast(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    registered(alice)
    before = ask(client_of(alice)).json()["model_version"]
    other = lightgbm.Booster(model_str=booster().model_to_string()).model_to_string(num_iteration=30)
    make_version(
        alice, version="v1.1.0", artifact=other.encode(), metadata={**BASIC, "trained_until": TRAINED_UNTIL}
    )

    client_of(alice).put("/ai/models/alpha:site-load:v1.1.0/promote", {"target_stage": "production"})

    assert (before, ask(client_of(alice)).json()["model_version"]) == ("v1.0.0", "v1.1.0")


def test_bands_cover_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.normal(100, 10, (400, 3))
    observed = predicted + rng.normal(0, [1.0, 2.0, 4.0], (400, 3))

    bands = measured_bands(predicted, observed)

    assert bands.high == pytest.approx(1.2816 * np.array([1, 2, 4]), rel=0.15)  # the normal's 90th percentile
    assert bands.coverage_by_step == pytest.approx(0.8, abs=0.07)
    assert bands.accuracy.coverage == pytest.approx(0.8, abs=0.04)
