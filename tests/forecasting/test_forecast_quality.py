"""Kept forecasts against the readings that came: scores, flags, their routes, their page, their metrics."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from features.actions import remove_asset
from forecasting.drift_actions import find_drift
from forecasting.models import DriftFlag, Forecast, ForecastScore
from forecasting.quality_actions import score_recent
from forecasting.quality_metrics import QualityCollector
from forecasting.tasks import score_forecasts
from omarino.authentication import Principal
from omarino.models import User
from omarino.scraping import OF_APPS
from registry.models import ModelVersion, Stage
from tests.conftest import ClientOf
from tests.factories import make_forecast_row, make_readings, make_score_row, make_version

pytestmark = pytest.mark.django_db
NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2025, 3, 9, tzinfo=UTC)


def forecast_of_a_day(owner: Principal, *, p50: float = 10.0, **fields: Any) -> Forecast:
    """Of 24 hours from midnight, made an hour before, from stored readings."""
    made = {"made_at": MIDNIGHT - timedelta(hours=1), "first_target_at": MIDNIGHT, "history_source": "stored"}
    return make_forecast_row(owner, p50=[p50] * 24, **{**made, **fields})


def test_forecasts_are_scored_when_their_readings_come(alice: Principal) -> None:
    forecast_of_a_day(alice)
    make_readings(alice, [10.5] * 6, start=MIDNIGHT)

    assert score_recent(now=NOW) == 1

    first = ForecastScore.objects.get()
    assert (first.asset_id, first.model_name, first.lead_hours) == ("main-meter", "auto", 6)
    assert (first.model_version, first.algorithm) == ("v1.0.0", "linear_v1")
    assert (first.day, first.count, first.mae, first.coverage) == (date(2025, 3, 9), 6, 0.5, 1.0)

    make_readings(alice, [13.0] * 18, start=MIDNIGHT + timedelta(hours=6))
    assert score_recent(now=NOW) == 2
    later = ForecastScore.objects.get(lead_hours=24)
    assert (later.count, later.mae, later.coverage, later.bias) == (18, 3.0, 0.0, -3.0)


def test_what_auto_took_is_scored_apart_and_a_blend_is_one_whatever_its_shares(alice: Principal) -> None:
    for words in (
        "linear_v1",
        "0.75 linear_v1 + 0.25 lightgbm_v1",
        "0.4 linear_v1 + 0.6 lightgbm_v1",
        "the last level",
    ):
        forecast_of_a_day(alice, algorithm=words)
    make_readings(alice, [10.5] * 6, start=MIDNIGHT)

    score_recent(now=NOW)

    scores = ForecastScore.objects.order_by("algorithm").values_list("model_name", "algorithm", "count")
    assert list(scores) == [("auto", "blend", 12), ("auto", "last_value", 6), ("auto", "linear_v1", 6)]


def test_versions_of_a_registered_model_are_scored_apart(alice: Principal) -> None:
    words = "lightgbm (lightgbm), step by step"
    for version, p50 in (("v1.0.0", 12.5), ("v1.1.0", 10.5)):
        forecast_of_a_day(alice, model_name="site-load", model_version=version, algorithm=words, p50=p50)
    make_readings(alice, [10.5] * 6, start=MIDNIGHT)

    score_recent(now=NOW)

    scores = ForecastScore.objects.order_by("model_version").values_list("model_version", "algorithm", "mae")
    assert list(scores) == [("v1.0.0", "registered", 2.0), ("v1.1.0", "registered", 0.0)]


def test_a_corrected_reading_is_followed_and_a_late_one_too_old_is_not(alice: Principal) -> None:
    forecast_of_a_day(alice)
    make_readings(alice, [10.0] * 24, start=MIDNIGHT)
    score_recent(now=NOW)

    make_readings(alice, [11.0] * 24, start=MIDNIGHT)
    score_recent(now=NOW)
    assert set(ForecastScore.objects.values_list("mae", flat=True)) == {1.0}

    make_readings(alice, [15.0] * 24, start=MIDNIGHT)
    score_recent(now=NOW + timedelta(days=8))  # seven days back it is scored again, no further
    assert set(ForecastScore.objects.values_list("mae", flat=True)) == {1.0}


def test_readings_taken_back_take_their_scores_with_them(alice: Principal) -> None:
    forecast_of_a_day(alice)
    make_readings(alice, [10.0] * 24, start=MIDNIGHT)
    score_recent(now=NOW)
    make_readings(alice, [10.0] * 24, start=MIDNIGHT, quality=["bad"] * 24)

    score_recent(now=NOW)

    assert not ForecastScore.objects.exists()


def test_scoring_twice_is_scoring_once_and_by_tenant(alice: Principal, charlie: Principal) -> None:
    for owner, level in ((alice, 10.0), (charlie, 20.0)):
        forecast_of_a_day(owner)
        make_readings(owner, [level] * 24, start=MIDNIGHT)

    for _ in range(2):
        assert score_recent(now=NOW) == 4

    assert set(ForecastScore.objects.for_tenant("alpha").values_list("mae", flat=True)) == {0.0}
    assert set(ForecastScore.objects.for_tenant("gamma").values_list("mae", flat=True)) == {10.0}


@pytest.mark.parametrize(
    "fields",
    [
        {"history_source": "body"},  # perhaps of something else, in another unit
        {"made_at": MIDNIGHT + timedelta(days=1)},  # foresaw nothing
        {"asset_id": "unknown"},
    ],
)
def test_what_proves_nothing_is_not_scored(alice: Principal, fields: dict[str, Any]) -> None:
    forecast_of_a_day(alice, **fields)
    make_readings(alice, [10.0] * 24, start=MIDNIGHT)

    assert score_recent(now=NOW) == 0


def test_a_band_that_holds_too_little_raises_a_flag_once_and_clears_it(alice: Principal) -> None:
    start = NOW - timedelta(days=5)
    forecast = {"made_at": start - timedelta(hours=1), "first_target_at": start, "history_source": "stored"}
    make_forecast_row(alice, p50=[10.0] * 100, **forecast)
    make_readings(alice, [13.0] * 100, start=start)
    score_recent(now=NOW)
    score_recent(now=NOW + timedelta(hours=1))

    flag = DriftFlag.objects.get()
    assert (flag.kind, flag.model_name, flag.value, flag.limit) == ("coverage", "auto", 0.0, 0.15)
    assert (flag.model_version, flag.algorithm) == ("v1.0.0", "linear_v1")
    assert (flag.raised_at, flag.seen_at, flag.cleared_at) == (NOW, NOW + timedelta(hours=1), None)

    make_readings(alice, [10.0] * 80 + [13.0] * 20, start=start)  # 0.8 of them inside
    score_recent(now=NOW + timedelta(hours=2))
    flag.refresh_from_db()
    assert (flag.value, flag.cleared_at) == (0.8, NOW + timedelta(hours=2))

    make_readings(alice, [13.0] * 100, start=start)
    score_recent(now=NOW + timedelta(hours=3))
    flag.refresh_from_db()
    assert (flag.raised_at, flag.cleared_at) == (NOW + timedelta(hours=3), None)


@pytest.fixture
def flagged(alice: Principal) -> DriftFlag:
    """Bands of the version in production held nothing for four days."""
    make_version(alice, stage=Stage.PRODUCTION)
    start = NOW - timedelta(days=5)
    made = {"made_at": start - timedelta(hours=1), "first_target_at": start, "history_source": "stored"}
    make_forecast_row(alice, p50=[10.0] * 100, model_name="site-load", **made)
    make_readings(alice, [13.0] * 100, start=start)
    score_recent(now=NOW)
    return DriftFlag.objects.raised().get()


def test_a_new_version_clears_the_flag_of_the_one_before(alice: Principal, flagged: DriftFlag) -> None:
    assert (flagged.model_version, flagged.algorithm) == ("v1.0.0", "registered")

    ModelVersion.objects.update(stage=Stage.ARCHIVED)
    make_version(alice, version="v1.1.0", stage=Stage.PRODUCTION)
    score_recent(now=NOW + timedelta(hours=1))

    flagged.refresh_from_db()
    assert flagged.cleared_at == NOW + timedelta(hours=1)
    assert not DriftFlag.objects.raised().exists()  # the scores of the old one are still there


def test_a_flag_goes_with_the_forecasts_it_speaks_of(flagged: DriftFlag) -> None:
    score_recent(now=NOW + timedelta(days=12))  # 48 outcomes of it are left to judge by: too few to say more
    assert DriftFlag.objects.raised().exists()

    score_recent(now=NOW + timedelta(days=30))
    assert not DriftFlag.objects.raised().exists()


def test_a_flag_goes_with_its_asset(flagged: DriftFlag) -> None:
    remove_asset(tenant_id="alpha", asset_id="main-meter")

    score_recent(now=NOW + timedelta(hours=1))

    assert not DriftFlag.objects.raised().exists()


def test_readings_in_another_unit_raise_a_flag(alice: Principal) -> None:
    daily = 50 + 20 * np.sin(np.arange(56 * 24) * 2 * np.pi / 24)
    start = NOW - timedelta(days=56)
    make_readings(alice, daily, start=start)
    find_drift(tenant_id="alpha", asset_id="main-meter", now=NOW)
    assert not DriftFlag.objects.exists()

    daily[35 * 24 :] *= 1000  # W where kW was
    make_readings(alice, daily, start=start)
    find_drift(tenant_id="alpha", asset_id="main-meter", now=NOW)

    flag = DriftFlag.objects.get()
    assert (flag.kind, flag.model_name) == ("readings", "")
    assert flag.value > 1


def test_the_routes_show_the_tenants_own(client_of: ClientOf, alice: Principal, charlie: Principal) -> None:
    forecast_of_a_day(alice)
    make_readings(alice, [13.0] * 24, start=MIDNIGHT)
    score_recent(now=NOW)
    flagged = {
        "asset_id": "main-meter",
        "kind": "coverage",
        "model_name": "auto",
        "model_version": "v1.0.0",
        "algorithm": "linear_v1",
        "value": 0.1,
        "limit": 0.15,
    }
    for cleared_at in (None, NOW):
        DriftFlag.objects.create(
            tenant_id="alpha", **flagged, raised_at=NOW, seen_at=NOW, cleared_at=cleared_at
        )
        flagged["model_name"] = "other"

    found = client_of(alice).get("/ai/forecasts/quality?lead_hours=24&from_day=2025-03-09").json()

    assert found["total"] == 1
    assert found["scores"][0] | {"scored_at": ""} == {
        "asset_id": "main-meter",
        "model_name": "auto",
        "model_version": "v1.0.0",
        "algorithm": "linear_v1",
        "lead_hours": 24,
        "day": "2025-03-09",
        "count": 18,
        "mae": 3.0,
        "pinball": pytest.approx((0.1 * 4 + 0.5 * 3 + 0.9 * 2) / 3),
        "coverage": 0.0,
        "bias": -3.0,
        "size": 13.0,
        "scored_at": "",
    }
    flags = client_of(alice).get("/ai/forecasts/drift").json()
    assert [flag["model_name"] for flag in flags["flags"]] == ["auto"]
    assert client_of(alice).get("/ai/forecasts/quality?algorithm=linear_v1").json()["total"] == 2
    assert client_of(alice).get("/ai/forecasts/quality?algorithm=blend").json()["total"] == 0
    assert client_of(alice).get("/ai/forecasts/quality?until_day=2025-03-08").json()["total"] == 0
    assert client_of(alice).get("/ai/forecasts/quality?lead_hours=7").status_code == 422
    assert client_of(charlie).get("/ai/forecasts/quality").json()["total"] == 0
    assert client_of(charlie).get("/ai/forecasts/drift").json()["total"] == 0


def test_the_pages_show_scores_and_flags(alice: Principal, client: Client) -> None:
    forecast_of_a_day(alice)
    make_readings(alice, [13.0] * 24, start=MIDNIGHT)
    score_recent(now=NOW)
    client.force_login(User.objects.create_superuser("root", password="x" * 12, tenant_id="alpha"))

    page = client.get("/admin/forecasting/forecastscore/").content.decode()
    assert "main-meter" in page
    assert "up to 24 h" in page
    assert client.get("/admin/forecasting/driftflag/").status_code == 200
    assert client.get("/admin/forecasting/forecastscore/add/").status_code == 403


def told_to_prometheus() -> dict[tuple[str, str | None, str | None], float]:
    return {
        (sample.name, sample.labels.get("algorithm"), sample.labels.get("lead_hours")): sample.value
        for family in QualityCollector().collect()
        for sample in family.samples
    }


@pytest.mark.django_db(transaction=True)
def test_prometheus_is_told_shares_without_names(alice: Principal, charlie: Principal) -> None:
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    at = today - timedelta(days=2)
    for owner, model, level in (
        (alice, "auto", 10.5),
        (charlie, "auto", 12.5),
        (alice, "model-of-alpha", 10.5),
    ):
        made: dict[str, Any] = {
            "made_at": at - timedelta(hours=1),
            "first_target_at": at,
            "model_name": model,
        }
        forecast_of_a_day(owner, **made, algorithm="0.3 linear_v1 + 0.7 lightgbm_v1")
        make_readings(owner, [level] * 24, start=at)
    score_forecasts()

    assert [type(collector) for collector in OF_APPS].count(QualityCollector) == 1
    told = told_to_prometheus()
    assert told["ai_service_forecast_outcomes", "blend", "6"] == 12
    assert told["ai_service_forecast_coverage", "blend", "6"] == 0.5
    mae = (0.5 / 10.5 + 2.5 / 12.5) / 2
    assert told["ai_service_forecast_mae_ratio", "blend", "24"] == pytest.approx(mae)
    of_alice = (0.1 * 1.5 + 0.5 * 0.5 + 0.1 * 0.5) / 3  # p10, p50, p90 are 9, 10, 11
    of_charlie = (0.1 * 3.5 + 0.5 * 2.5 + 0.9 * 1.5) / 3
    pinball = (of_alice / 10.5 + of_charlie / 12.5) / 2
    assert told["ai_service_forecast_pinball_ratio", "blend", "24"] == pytest.approx(pinball)
    assert told["ai_service_forecast_coverage", "registered", "6"] == 1.0
    assert not [key for key in told if key[1] not in ("blend", "registered", None)]


@pytest.mark.django_db(transaction=True)
def test_days_of_nothing_weigh_as_little_in_the_ratios_as_they_are(alice: Principal) -> None:
    """A night of PV is no error of 100 %, and readings of 0 alone have no ratio."""
    today = timezone.now().date()
    for days, size in ((1, 20.0), (2, 0.001)):
        make_score_row(alice, day=today - timedelta(days=days), mae=1.0, pinball=0.5, size=size)
    make_score_row(alice, day=today, asset_id="switched-off", mae=1.0, pinball=0.5, size=0.0)

    told = told_to_prometheus()

    assert told["ai_service_forecast_mae_ratio", "linear_v1", "24"] == pytest.approx(2 / 20.001)
    assert told["ai_service_forecast_pinball_ratio", "linear_v1", "24"] == pytest.approx(1 / 20.001)
    assert told["ai_service_forecast_outcomes", "linear_v1", "24"] == 72
    ForecastScore.objects.exclude(size=0).delete()
    assert ("ai_service_forecast_mae_ratio", "linear_v1", "24") not in told_to_prometheus()
