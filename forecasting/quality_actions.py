"""What one can do about kept forecasts once readings came: score them, and say what drifted."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum

from features import history
from features.models import Asset
from forecasting import quality
from forecasting.models import DriftFlag, DriftKind, Forecast, ForecastScore, HistorySource
from omarino.epoch import to_us

LONGEST_LEAD = timedelta(hours=quality.LEAD_HOURS[-1] + 24)
JUDGED = timedelta(days=14)  # of scores, before a band is said to hold too much or too little
OUTCOMES_TO_JUDGE = 96
COMPARED = timedelta(days=28)  # of readings, with as many before them: whole weeks
log = structlog.get_logger(__name__)


def score_recent(*, now: datetime) -> int:
    """Score the days of every asset that readings may still change. The number of scores written."""
    made_since = _first_day(now) - LONGEST_LEAD
    recent = Forecast.objects.filter(
        made_at__gte=made_since, made_at__lte=now, history_source=HistorySource.STORED
    )
    assets = recent.order_by("tenant_id", "asset_id").values_list("tenant_id", "asset_id").distinct()
    written = 0
    for tenant_id, asset_id in list(assets):
        written += score_asset(tenant_id=tenant_id, asset_id=asset_id, now=now)
        find_drift(tenant_id=tenant_id, asset_id=asset_id, now=now)
    return written


def score_asset(*, tenant_id: str, asset_id: str, now: datetime) -> int:
    """Replace the asset's scores of the last days by what its readings say now.

    Only forecasts from stored readings are scored: a history in a request need not be this asset's, nor in its unit.
    """
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    if asset is None:
        return 0
    start = _first_day(now)
    issued = _issued(asset, start - LONGEST_LEAD, now)
    readings = _readings(asset, start, now)
    found = quality.scores(issued, readings, from_us=to_us(start), before_us=to_us(now))
    rows = [
        ForecastScore(
            tenant_id=tenant_id,
            asset_id=asset_id,
            scored_at=now,
            **{name: getattr(score, name) for name in SCORED},
        )
        for score in found
    ]
    with transaction.atomic():
        ForecastScore.objects.for_tenant(tenant_id).filter(asset_id=asset_id, day__gte=start.date()).delete()
        ForecastScore.objects.bulk_create(
            rows,
            update_conflicts=True,  # another worker may have scored at the same time
            unique_fields=["tenant_id", "asset_id", "day", "model_name", "lead_hours"],
            update_fields=["scored_at", *sorted(set(SCORED) - {"day", "model_name", "lead_hours"})],
        )
    return len(rows)


def _issued(asset: Asset, start: datetime, until: datetime) -> list[quality.Issued]:
    """What the forecasts made in [start, until] from the asset's stored readings said."""
    made = Forecast.objects.for_tenant(asset.tenant_id).filter(
        asset_id=asset.asset_id,
        history_source=HistorySource.STORED,
        made_at__gte=start,
        made_at__lte=until,
    )
    return [
        quality.Issued(
            model_name=forecast.model_name,
            first_target_us=to_us(forecast.first_target_at),
            interval_minutes=forecast.interval_minutes,
            made_at_us=to_us(forecast.made_at),
            quantiles=np.column_stack((forecast.p10, forecast.p50, forecast.p90)),
        )
        for forecast in made.defer("confidence", "warnings", "given_features").iterator(chunk_size=200)
    ]


def find_drift(*, tenant_id: str, asset_id: str, now: datetime) -> None:
    """Raise and clear the flags of an asset."""
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    if asset is None:
        return
    whose = {"tenant_id": tenant_id, "asset_id": asset_id}
    for model_name, share in _coverages(whose, (now - JUDGED).date()):
        limit = settings.DRIFT_COVERAGE
        is_off = abs(share - quality.NOMINAL_COVERAGE) > limit
        _flag(whose, DriftKind.COVERAGE, model_name, share, limit, is_off=is_off, now=now)
    readings = _readings(asset, now - 2 * COMPARED, now)
    earlier = readings.times_us < to_us(now - COMPARED)
    index = quality.population_stability_index(readings.values[earlier], readings.values[~earlier])
    if np.isfinite(index):
        limit = settings.DRIFT_STABILITY_INDEX
        _flag(whose, DriftKind.READINGS, "", index, limit, is_off=index > limit, now=now)


def _coverages(whose: dict[str, str], since: date) -> list[tuple[str, float]]:
    scores = ForecastScore.objects.filter(**whose, day__gte=since).values("model_name").order_by("model_name")
    return [
        (row["model_name"], row["inside"] / row["outcomes"])
        for row in scores.annotate(inside=Sum(F("coverage") * F("count")), outcomes=Sum("count"))
        if row["outcomes"] >= OUTCOMES_TO_JUDGE
    ]


def _flag(
    whose: dict[str, str],
    kind: DriftKind,
    model_name: str,
    value: float,
    limit: float,
    *,
    is_off: bool,
    now: datetime,
) -> None:
    """One row for each thing that can drift: raised, seen again, cleared."""
    about: dict[str, Any] = {**whose, "kind": kind, "model_name": model_name}
    raised = DriftFlag.objects.filter(**about).raised()
    told: dict[str, Any] = {"value": value, "limit": limit, "seen_at": now}
    if is_off and not raised.update(**told):
        DriftFlag.objects.update_or_create(**about, defaults={**told, "raised_at": now, "cleared_at": None})
        log.warning(
            "drift_flagged", **whose, kind=kind.value, model_name=model_name, value=value, limit=limit
        )
    if not is_off and raised.update(**told, cleared_at=now):
        log.info("drift_cleared", **whose, kind=kind.value, model_name=model_name, value=value, limit=limit)


SCORED = ("model_name", "lead_hours", "day", "count", "mae", "pinball", "coverage", "bias", "size")


def _readings(asset: Asset, start: datetime, before: datetime) -> quality.Readings:
    times, values = history.window(
        tenant_id=asset.tenant_id, asset_id=asset.asset_id, start=start, before=before
    )
    known = np.isfinite(values)
    times, values = times[known], values[known]
    apart = float(np.median(np.diff(times))) / 60_000_000 if times.size > 1 else 60.0
    return quality.Readings(times, values, asset.interval_minutes or apart, asset.adds_up)


def _first_day(now: datetime) -> datetime:
    """The first moment of the oldest UTC day that is still scored again."""
    day = now.astimezone(UTC).date() - timedelta(days=settings.FORECAST_RESCORED_DAYS)
    return datetime.combine(day, time(), tzinfo=UTC)
