"""POST /ai/forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from forecasting.models import Forecast
from omarino.authentication import Principal
from omarino.permissions import ANOMALY_ANALYST
from registry.models import Stage
from tests.conftest import ClientOf
from tests.factories import make_version

MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
ALGORITHMS = ["auto", "lightgbm_v1", "linear_v1", "prophet_like_v1", "seasonal_naive_v1"]


def weekly_load(days: int, *, minutes: int = 60, start: datetime = MONDAY) -> list[dict[str, Any]]:
    """A load with a daily wave, a lower weekend, and a little noise of a fixed seed."""
    rng = np.random.default_rng(7)
    points = []
    for step in range(days * 1440 // minutes):
        time = start + step * timedelta(minutes=minutes)
        hour = time.hour + time.minute / 60
        level = 60 if time.weekday() < 5 else 40
        value = level + 20 * np.sin((hour - 9) / 24 * 2 * np.pi) + rng.normal(0, 1)
        points.append({"timestamp": time.isoformat(), "value": round(float(value), 3)})
    return points


def body_of(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "tenant_id": "alpha",
        "asset_id": "main-meter",
        "forecast_type": "load",
        "historical_data": weekly_load(35),
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


@pytest.mark.parametrize("model_name", [*ALGORITHMS, "linear", None])
def test_each_algorithm_answers_in_the_shape_of_the_contract(
    alice: Principal, client_of: ClientOf, model_name: str | None
) -> None:
    response = client_of(alice).post("/ai/forecast", body_of(model_name=model_name))

    answer = response.json()
    assert response.status_code == 200, answer
    assert set(answer) >= {
        "forecast_id",
        "tenant_id",
        "asset_id",
        "model_name",
        "model_version",
        "forecasts",
        "metadata",
    }
    assert answer["model_name"] == {"linear": "linear_v1", None: "auto"}.get(model_name, model_name)
    assert len(answer["forecasts"]) == 24
    first = answer["forecasts"][0]
    assert set(first) == {
        "timestamp",
        "point_forecast",
        "quantiles",
        "confidence",
        "prediction_interval_lower",
        "prediction_interval_upper",
    }
    assert first["timestamp"] == "2025-04-07T00:00:00Z"  # 35 days after the Monday the history begins with
    for step in answer["forecasts"]:
        assert step["quantiles"]["p10"] <= step["quantiles"]["p50"] <= step["quantiles"]["p90"]
        assert step["point_forecast"] == step["quantiles"]["p50"]
    assert set(answer["metadata"]) == {
        "generated_at",
        "model_name",
        "model_version",
        "algorithm",
        "features_used",
        "training_samples",
        "training_date",
        "mae",
        "rmse",
        "mape",
        "coverage",
        "warnings",
    }


def test_a_seasonal_load_is_forecast_near_its_true_wave(alice: Principal, client_of: ClientOf) -> None:
    answer = client_of(alice).post("/ai/forecast", body_of()).json()

    # A Monday: 60 + 20 sin((hour - 9) / 24 * 2 pi), with noise of one standard deviation.
    hours = np.arange(24)
    truth = 60 + 20 * np.sin((hours - 9) / 24 * 2 * np.pi)
    medians = np.array([step["point_forecast"] for step in answer["forecasts"]])
    assert np.abs(medians - truth).mean() < 1.0
    assert 0.4 < answer["metadata"]["mae"] < 1.6  # noise alone gives sqrt(2 / pi) = 0.80
    assert 0.6 <= answer["metadata"]["coverage"] <= 0.95


def test_the_forecast_is_kept_as_it_was_answered(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)

    answer = client.post("/ai/forecast", body_of()).json()

    assert client.get(f"/ai/forecast/{answer['forecast_id']}").json() == answer
    row = Forecast.objects.for_tenant("alpha").get()
    assert (row.history_source, row.training_samples > 0, len(row.inputs_digest)) == ("body", True, 64)


def test_the_same_history_gives_the_same_forecast(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)

    first, second = (client.post("/ai/forecast", body_of()).json()["forecasts"] for _ in range(2))

    assert first == second


def test_without_quantiles_the_interval_stays(alice: Principal, client_of: ClientOf) -> None:
    step = client_of(alice).post("/ai/forecast", body_of(include_quantiles=False)).json()["forecasts"][0]

    assert step["quantiles"] is None
    assert step["prediction_interval_lower"] <= step["point_forecast"] <= step["prediction_interval_upper"]


@pytest.mark.parametrize(
    ("horizon_hours", "interval_minutes", "steps"),
    [(1, 15, 4), (168, 60, 168), (24, 30, 48), (48, 1440, 2), (1, 1440, 1), (25, 120, 13)],
)
def test_the_horizon_is_covered_by_whole_steps(
    alice: Principal, client_of: ClientOf, horizon_hours: int, interval_minutes: int, steps: int
) -> None:
    answer = (
        client_of(alice)
        .post("/ai/forecast", body_of(horizon_hours=horizon_hours, interval_minutes=interval_minutes))
        .json()
    )

    times = [datetime.fromisoformat(step["timestamp"]) for step in answer["forecasts"]]
    assert len(times) == steps
    assert {later - earlier for earlier, later in pairwise(times)} <= {timedelta(minutes=interval_minutes)}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"horizon_hours": 0}, "horizon_hours"),
        ({"horizon_hours": 169}, "horizon_hours"),
        ({"interval_minutes": 14}, "interval_minutes"),
        ({"interval_minutes": 1441}, "interval_minutes"),
        ({"forecast_type": "weather"}, "forecast_type"),
        ({"forecast_type": ...}, "forecast_type"),
        ({"asset_id": ...}, "asset_id"),
        ({"asset_id": "a/../b"}, "asset_id"),
        ({"tenant_id": ...}, "tenant_id"),
        ({"historical_data": "yesterday"}, "historical_data"),
        ({"historical_data": [{"timestamp": "2025-01-01", "value": "12"}]}, "historical_data.0.value"),
        ({"historical_data": [{"timestamp": "soon", "value": 1}]}, "historical_data.0.timestamp"),
        ({"historical_data": [{"value": 1}]}, "historical_data.0.timestamp"),
        ({"features": [1, 2]}, "features"),
        ({"features": {"temperature": "warm"}}, "features.temperature"),
        ({"as_of": "soon"}, "as_of"),
    ],
)
def test_a_bad_field_is_named(
    alice: Principal, client_of: ClientOf, changes: dict[str, Any], field: str
) -> None:
    response = client_of(alice).post("/ai/forecast", body_of(**changes))

    assert response.status_code == 422, response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert field in [error["field"] for error in response.json()["errors"]]


def test_one_point_is_too_short(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post("/ai/forecast", body_of(historical_data=weekly_load(1)[:1]))

    assert (response.status_code, response.json()["code"]) == (422, "series_too_short")


def test_two_points_are_answered_with_a_warning(alice: Principal, client_of: ClientOf) -> None:
    answer = client_of(alice).post("/ai/forecast", body_of(historical_data=weekly_load(1)[:2])).json()

    assert len(answer["forecasts"]) == 24
    assert answer["metadata"]["mae"] is None
    assert answer["metadata"]["warnings"]


def test_without_history_and_readings_it_says_where_to_load_them(
    alice: Principal, client_of: ClientOf
) -> None:
    response = client_of(alice).post("/ai/forecast", body_of(historical_data=...))

    assert (response.status_code, response.json()["code"]) == (422, "no_readings")
    assert "/ai/features/readings" in response.json()["detail"]


def test_a_model_that_is_not_in_production_is_a_conflict_not_a_baseline(
    alice: Principal, client_of: ClientOf
) -> None:
    response = client_of(alice).post("/ai/forecast", body_of(model_name="site-load"))

    assert (response.status_code, response.json()["code"]) == (409, "no_production_version")
    assert not Forecast.objects.exists()


def test_a_registered_model_is_not_replaced_by_a_built_in_one(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, name="site-load", stage=Stage.PRODUCTION)

    response = client_of(alice).post("/ai/forecast", body_of(model_name="site-load"))

    assert (response.status_code, response.json()["code"]) == (409, "model_cannot_forecast")
    assert "/ai/models/{id}/predict" in response.json()["detail"]


def test_an_unknown_field_is_ignored_and_said(alice: Principal, client_of: ClientOf) -> None:
    answer = client_of(alice).post("/ai/forecast", body_of(horizon_hour=5)).json()

    assert any("horizon_hour" in warning for warning in answer["metadata"]["warnings"])


def test_another_tenant_in_the_body_is_refused(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).post("/ai/forecast", body_of(tenant_id="gamma"))

    assert (response.status_code, response.json()["code"]) == (403, "tenant_mismatch")
    assert not Forecast.objects.exists()


def test_forecasting_needs_its_role(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice, roles=frozenset({ANOMALY_ANALYST})).post("/ai/forecast", body_of())

    assert response.status_code == 403
    assert "forecaster" in response.json()["detail"]


def test_too_many_points_are_refused_with_the_limit(alice: Principal, client_of: ClientOf) -> None:
    many = [{"timestamp": "2025-01-01T00:00:00Z", "value": 1}] * 200_001

    response = client_of(alice).post("/ai/forecast", body_of(historical_data=many))

    assert (response.status_code, response.json()["limit"]) == (413, 200_000)


def test_readings_of_the_body_at_or_after_as_of_are_not_used(alice: Principal, client_of: ClientOf) -> None:
    as_of = MONDAY + timedelta(days=28)
    client = client_of(alice)

    given = client.post("/ai/forecast", body_of(as_of=as_of.isoformat())).json()
    cut = client.post("/ai/forecast", body_of(historical_data=weekly_load(35)[: 28 * 24])).json()

    assert given["forecasts"][0]["timestamp"] == "2025-03-31T00:00:00Z"
    assert given["forecasts"] == cut["forecasts"]


def test_a_history_that_ends_in_the_future_says_where_the_forecast_starts(
    alice: Principal, client_of: ClientOf
) -> None:
    history = weekly_load(35, start=datetime(2190, 1, 4, tzinfo=UTC))

    answer = client_of(alice).post("/ai/forecast", body_of(historical_data=history)).json()

    assert any(
        "the forecast starts there, at 2190-02-08 00:00 UTC" in w for w in answer["metadata"]["warnings"]
    )
