"""POST /ai/explain and /ai/explain/global with the prediction_id of a forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.utils import timezone
from structlog.testing import capture_logs

from features.models import Asset, Reading
from forecasting import sent_histories
from forecasting.models import Forecast, SentHistory
from forecasting.packing import packed
from omarino.authentication import Principal
from registry.models import ModelVersion
from tests.conftest import ClientOf
from tests.explanations.test_explain_a_model import assert_adds_up
from tests.factories import make_asset, make_forecast_row, make_readings, make_version, make_weather

pytestmark = pytest.mark.django_db
URL = "/ai/explain"
START = datetime(2025, 1, 6, tzinfo=UTC)
AS_OF = START + timedelta(days=60)
BUILT_IN = ["auto", "lightgbm_v1", "linear_v1", "prophet_like_v1", "seasonal_naive_v1"]


def load(days: int = 60) -> Any:
    hours = np.arange(days * 24)
    noise = np.random.default_rng(0).normal(0, 2, hours.size)
    return 50 + 20 * np.sin((hours - 6) / 24 * 2 * np.pi) - 12 * (hours // 24 % 7 >= 5) + noise


def forecast(client: Any, **said: Any) -> dict[str, Any]:
    body = {
        "tenant_id": "alpha",
        "asset_id": "main-meter",
        "forecast_type": "load",
        "as_of": AS_OF.isoformat(),
        **said,
    }
    made = client.post("/ai/forecast", body)
    assert made.status_code == 200, made.json()
    answer: dict[str, Any] = made.json()
    return answer


def why(client: Any, made: dict[str, Any], **said: Any) -> Any:
    return client.post(URL, {"tenant_id": "alpha", "prediction_id": made["forecast_id"], **said})


@pytest.mark.parametrize("model_name", BUILT_IN)
def test_every_built_in_forecaster_is_explained_at_any_step(
    alice: Principal, client_of: ClientOf, model_name: str
) -> None:
    make_readings(alice, load(), start=START, unit="kW", timezone="Europe/Berlin", country="DE")
    client = client_of(alice)
    made = forecast(client, model_name=model_name, horizon_hours=48)

    for step in (0, 18, 47):
        response = why(client, made, model_name=model_name, step=step)

        answer = response.json()
        assert response.status_code == 200, answer
        assert_adds_up(answer)
        about = answer["metadata"]
        assert about["prediction_value"] == made["forecasts"][step]["point_forecast"]
        assert (about["step"], about["timestamp"]) == (step, made["forecasts"][step]["timestamp"])
        assert about["unit"] == "kW"
        assert sum(group["contribution"] for group in answer["groups"]) == pytest.approx(
            answer["summary"]["total_contribution"], abs=1e-9
        )
        assert answer["prediction_id"] == made["forecast_id"]


def test_what_was_explained_is_told_to_the_log_once(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    client = client_of(alice)
    made = forecast(client, horizon_hours=48)

    with capture_logs() as lines:
        answers = [why(client, made, step=3).json() for _ in range(2)]  # the second time it is kept already

    (line,) = [line for line in lines if line["event"] == "explanation_made"]
    assert line.pop("latency_ms") > 0
    assert line == {
        "log_level": "info",
        "event": "explanation_made",
        "tenant_id": "alpha",
        "asset_id": "main-meter",
        "model_name": "auto",
        "horizon_hours": 48,
        "explanation_id": answers[1]["explanation_id"],
        "scope": "local",
        "subject": "forecast",
    }


def test_a_person_can_read_why(alice: Principal, client_of: ClientOf) -> None:
    """18:00 UTC of the next day is 19:00 in Berlin, where people live."""
    make_readings(alice, load(), start=START, unit="kW", timezone="Europe/Berlin")
    made = forecast(client_of(alice), model_name="linear", horizon_hours=36)
    at = (AS_OF + timedelta(hours=10)).isoformat()

    said = why(client_of(alice), made, timestamp=at).json()

    sentence = said["summary"]["explanation"]
    assert sentence.startswith(f"Today 11:00 is forecast at {said['metadata']['prediction_value']:.1f} kW, ")
    assert "above usual: mostly because of the hour (+" in sentence
    groups = {group["group"]: group["contribution"] for group in said["groups"]}
    assert max(groups, key=lambda name: abs(groups[name])) == "calendar"


def test_what_was_said_is_explained_after_new_readings_came(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    client = client_of(alice)
    made = forecast(client, model_name="linear_v1")
    expected = why(client, made, step=3).json()
    # the next day, and two hours of the past that arrive late
    make_readings(alice, np.full(24, 500.0), start=AS_OF)
    make_readings(alice, np.full(2, 500.0), start=START - timedelta(hours=2))

    answer = why(client, made, step=4).json()

    assert answer["metadata"]["prediction_value"] == made["forecasts"][4]["point_forecast"]
    assert answer["metadata"]["base_value"] == pytest.approx(expected["metadata"]["base_value"], abs=2)
    assert why(client, made, step=3).json() == expected


@pytest.mark.django_db(transaction=True)  # the database's clock stands still within one
def test_readings_corrected_since_are_seen_as_they_were_known(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    client = client_of(alice)
    made = forecast(client, model_name="linear_v1")
    make_readings(alice, [5000.0], start=AS_OF - timedelta(hours=30))

    answer = why(client, made, step=1).json()

    assert_adds_up(answer)
    assert answer["metadata"]["prediction_value"] == made["forecasts"][1]["point_forecast"]


def test_other_readings_are_not_passed_off_as_the_ones_it_was_made_from(
    alice: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, load(), start=START)
    client = client_of(alice)
    made = forecast(client, model_name="linear_v1")
    kept = why(client, made, step=0).json()
    Reading.objects.filter(timestamp=AS_OF - timedelta(hours=30)).update(
        value=5000.0
    )  # behind everybody's back

    problem = why(client, made, step=1).json()

    assert (problem["status"], problem["code"]) == (409, "inputs_changed")
    assert why(client, made, step=0).json() == kept  # what was explained stays


def test_the_weather_and_the_features_of_the_request_are_the_same_again(
    alice: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, load(), start=START)
    warmth = np.random.default_rng(3).normal(10, 4, 62 * 24)
    make_weather(alice, {"temperature": warmth}, start=START)
    make_readings(alice, np.random.default_rng(4).normal(5, 1, 60 * 24), start=START, metric="staff")
    client = client_of(alice)
    made = forecast(client, model_name="linear_v1", features={"staff": [7.5] * 24, "temperature": 12})
    assert {"staff", "temperature"} <= set(made["metadata"]["features_used"])

    answer = why(client, made, step=5).json()

    assert_adds_up(answer)
    names = {part["feature_name"] for part in answer["feature_importances"]}
    assert {"staff", "temperature"} <= names


def test_a_forecast_by_a_registered_model_is_explained_by_what_it_was_asked(
    alice: Principal, client_of: ClientOf
) -> None:
    from sklearn.linear_model import LinearRegression
    from skops.io import dumps

    make_readings(alice, load(), start=START)
    rows = np.random.default_rng(0).normal(50, 10, (300, 2))
    artifact = dumps(LinearRegression().fit(rows, rows @ [0.6, 0.4]))
    version = make_version(
        alice,
        stage="production",
        artifact=artifact,
        artifact_format="skops",
        metadata={"feature_set": "forecast_basic", "feature_set_version": 1},
    )
    ModelVersion.objects.filter(pk=version.pk).update(feature_names=["lag_1h", "lag_24h"])
    client = client_of(alice)
    made = forecast(client, model_name="site-load", horizon_hours=24)

    answer = why(client, made, model_name="site-load", step=2).json()

    assert_adds_up(answer)
    said = [each["point_forecast"] for each in made["forecasts"]]
    assert answer["metadata"]["prediction_value"] == said[2]
    by_name = {part["feature_name"]: part for part in answer["feature_importances"]}
    assert by_name["lag_1h"]["value"] == pytest.approx(said[1])  # what it had said stood for the reading


def test_all_steps_together_say_what_the_forecast_looks_at(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    client = client_of(alice)
    made = forecast(client, model_name="prophet_like_v1")

    response = client.post(f"{URL}/global", {"tenant_id": "alpha", "prediction_id": made["forecast_id"]})

    answer = response.json()
    assert response.status_code == 200
    assert answer["samples_analyzed"] == 24
    assert answer["global_importances"][0]["feature_name"] == "hour_of_day"
    assert "generated_at" in answer


@pytest.mark.parametrize("model_name", BUILT_IN)
def test_a_history_that_was_sent_is_kept_and_the_forecast_explained(
    alice: Principal, client_of: ClientOf, model_name: str
) -> None:
    make_asset(alice, timezone="Europe/Berlin", country="DE")
    client = client_of(alice)
    made = forecast(client, model_name=model_name, historical_data=sent())
    Asset.objects.update(timezone="Asia/Tokyo", country="")  # it was in Berlin when the forecast was made

    answer = why(client, made, step=18).json()

    assert_adds_up(answer)
    point = made["forecasts"][18]["point_forecast"]
    assert answer["metadata"]["prediction_value"] == pytest.approx(point, rel=1e-9)


def test_what_is_kept_is_what_the_forecaster_saw_and_little(alice: Principal, client_of: ClientOf) -> None:
    made = forecast(client_of(alice), model_name="seasonal_naive_v1", historical_data=sent())

    row = SentHistory.objects.get(forecast_id=made["forecast_id"])

    series, _ = sent_histories.kept(row.forecast)
    assert (row.start_at, row.count) == (START, 60 * 24)
    assert np.isnan(series.values[200:206]).all()
    assert series.values[-3] == pytest.approx((31.5 + load()[-3]) / 2, abs=0.001)
    assert len(row.values) < 7 * row.count


def test_a_stored_history_is_not_kept_twice(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)

    forecast(client_of(alice), model_name="seasonal_naive_v1")

    assert not SentHistory.objects.exists()


def test_a_kept_history_changed_by_hand_is_not_explained_from(alice: Principal, client_of: ClientOf) -> None:
    made = forecast(client_of(alice), model_name="seasonal_naive_v1", historical_data=sent())
    SentHistory.objects.update(values=packed(load() + 1))

    assert why(client_of(alice), made).json()["code"] == "inputs_changed"


def test_only_what_is_old_is_dropped_and_the_forecast_stays(alice: Principal, client_of: ClientOf) -> None:
    client = client_of(alice)
    made = [forecast(client, model_name="seasonal_naive_v1", historical_data=sent()) for _ in range(2)]
    old = SentHistory.objects.filter(forecast_id=made[0]["forecast_id"])
    old.update(kept_since=timezone.now() - timedelta(days=31))

    assert sent_histories.drop_old(now=timezone.now()) == 1

    assert [str(row.pk) for row in SentHistory.objects.all()] == [made[1]["forecast_id"]]
    assert Forecast.objects.count() == 2


# What is refused


def sent(days: int = 60) -> list[dict[str, Any]]:
    """A history for the body of a request, with a gap and a repeated time."""
    points = [
        {"timestamp": (START + timedelta(hours=hour)).isoformat(), "value": round(value, 3)}
        for hour, value in enumerate(load(days).tolist())
        if not 200 <= hour < 206
    ]
    return [*points, {**points[-3], "value": 31.5}]


@pytest.mark.parametrize("setting", ["kept", "turned off", "made before"])
def test_a_history_that_is_not_kept_says_why(
    alice: Principal, client_of: ClientOf, settings: Any, setting: str
) -> None:
    settings.FORECAST_HISTORY_KEPT_DAYS = 0 if setting == "turned off" else 30
    made = forecast(client_of(alice), model_name="seasonal_naive_v1", historical_data=sent())
    if setting == "kept":
        Forecast.objects.update(made_at=timezone.now() - timedelta(days=31))
        SentHistory.objects.update(kept_since=timezone.now() - timedelta(days=31))
        assert sent_histories.drop_old(now=timezone.now()) == 1
    else:
        SentHistory.objects.all().delete()

    problem = why(client_of(alice), made).json()

    assert (problem["status"], problem["code"]) == (409, "history_not_kept")
    said = {"kept": "was kept for 30 days", "turned off": "keeps none", "made before": "none was kept then"}
    assert said[setting] in problem["detail"]
    assert "Store the readings" in problem["detail"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model_version": "v0.9.0"}, "made_by_another_version"),
        ({"model_name": "retired_v1"}, "made_by_another_version"),
        ({"inputs_digest": "1" * 64}, "inputs_changed"),
        ({"p50": [1.0] * 24}, "made_by_another_version"),
    ],
)
def test_a_forecast_that_cannot_be_made_again_says_so(
    alice: Principal, client_of: ClientOf, change: dict[str, Any], code: str
) -> None:
    make_readings(alice, load(), start=START)
    made = forecast(client_of(alice), model_name="seasonal_naive_v1")
    Forecast.objects.update(**change)

    problem = why(client_of(alice), made).json()

    assert (problem["status"], problem["code"]) == (409, code)


def test_readings_that_were_removed_are_missed(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(), start=START)
    made = forecast(client_of(alice), model_name="seasonal_naive_v1")
    Reading.objects.all().delete()

    assert why(client_of(alice), made).json()["code"] == "inputs_changed"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"step": 24}, "no_such_point"),
        ({"step": -1}, "validation_failed"),
        ({"timestamp": "2025-03-07T00:30:00Z"}, "no_such_point"),
        ({"timestamp": "2030-01-01T00:00:00Z"}, "no_such_point"),
        ({"timestamp": "2025-03-07T00:00:00Z", "step": 5}, "no_such_point"),
        ({"model_name": "linear_v1"}, "not_this_models"),
        ({"model_version": "v2.0.0"}, "not_this_models"),
        ({"prediction_id": "tomorrow"}, "validation_failed"),
    ],
)
def test_a_point_that_is_not_there_is_refused(
    alice: Principal, client_of: ClientOf, said: dict[str, Any], code: str
) -> None:
    make_readings(alice, load(20), start=START)
    made = forecast(
        client_of(alice), model_name="seasonal_naive_v1", as_of=(START + timedelta(days=20)).isoformat()
    )

    problem = why(client_of(alice), made, **said).json()

    assert (problem["status"], problem["code"]) == (422, code)


def test_the_name_it_was_asked_by_is_its_name(alice: Principal, client_of: ClientOf) -> None:
    make_readings(alice, load(20), start=START)
    made = forecast(
        client_of(alice), model_name="seasonal_naive_v1", as_of=(START + timedelta(days=20)).isoformat()
    )

    assert why(client_of(alice), made, model_name="seasonal_naive").status_code == 200


def test_another_tenants_forecast_is_not_there(
    alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    row = make_forecast_row(alice)
    make_asset(charlie)
    body = {"tenant_id": "gamma", "prediction_id": str(row.pk)}

    answers = [client_of(charlie).post(path, body).json() for path in (URL, f"{URL}/global")]
    unknown = client_of(charlie).post(URL, {**body, "prediction_id": str(uuid4())}).json()

    assert [answer["code"] for answer in answers] == ["not_found", "not_found"]
    assert {**answers[0], "request_id": ""} == {**unknown, "request_id": ""}
    assert Asset.objects.filter(tenant_id="gamma").exists()
