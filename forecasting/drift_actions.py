"""What moved since: flags that ask for a training, raised and cleared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import numpy as np
import structlog
from django.conf import settings
from django.db.models import F, Sum

from features.models import Asset
from forecasting import drift, quality
from forecasting.answered import BUILT_IN_VERSION, REGISTERED
from forecasting.drift import COMPARED, YEAR_BEFORE
from forecasting.models import DriftFlag, DriftKind, ForecastScore
from forecasting.observed import readings_of
from forecasting.used_features import Used, courses, used_by
from omarino.epoch import to_us
from registry.models import ModelVersion

JUDGED = timedelta(days=14)  # of scores, before a band is said to hold too much or too little
OUTCOMES_TO_JUDGE = 96
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a flag speaks of, of its asset."""

    kind: DriftKind
    model_name: str = ""
    model_version: str = ""
    algorithm: str = ""
    feature: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The columns of a flag that say what was found, and over which time. reference_from: until the window begins."""

    value: float
    limit: float
    reference_from: datetime | None
    window_from: datetime
    window_until: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """measured None: too little to say, so a flag stays as it is."""

    subject: Subject
    measured: Measured | None = None
    is_off: bool = False


def find_drift(*, tenant_id: str, asset_id: str, now: datetime) -> None:
    """Raise and clear the flags of an asset."""
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    findings = (
        [] if asset is None else [*_coverages(asset, now), *_readings(asset, now), *_features(asset, now)]
    )
    whose = {"tenant_id": tenant_id, "asset_id": asset_id}
    for finding in findings:
        if finding.measured is not None:
            _flag(whose, finding.subject, finding.measured, is_off=finding.is_off, now=now)
    spoken_of = {finding.subject for finding in findings}
    for flag in DriftFlag.objects.filter(**whose).raised():
        if _subject(flag) not in spoken_of:
            _clear(flag, now)


def _coverages(asset: Asset, now: datetime) -> Iterator[Finding]:
    """Of the versions that answer now. What they replaced is judged no more."""
    since = datetime.combine((now - JUDGED).astimezone(UTC).date(), time(), tzinfo=UTC)
    scores = ForecastScore.objects.for_tenant(asset.tenant_id).filter(
        asset_id=asset.asset_id, day__gte=since.date()
    )
    by = ("model_name", "model_version", "algorithm")
    counted = scores.order_by(*by).values(*by)
    rows = list(counted.annotate(inside=Sum(F("coverage") * F("count")), outcomes=Sum("count")))
    versions = _versions_now(asset.tenant_id, {row["model_name"] for row in rows})
    for row in rows:
        subject = Subject(DriftKind.COVERAGE, *(row[name] for name in by))
        if subject.model_version != (
            versions.get(subject.model_name) if subject.algorithm == REGISTERED else BUILT_IN_VERSION
        ):
            continue
        if row["outcomes"] < OUTCOMES_TO_JUDGE:
            yield Finding(subject)
            continue
        share, limit = row["inside"] / row["outcomes"], settings.DRIFT_COVERAGE
        measured = Measured(share, limit, None, window_from=since, window_until=now)
        yield Finding(subject, measured, is_off=abs(share - quality.NOMINAL_COVERAGE) > limit)


def _versions_now(tenant_id: str, model_names: set[str]) -> dict[str, str]:
    versions = ModelVersion.objects.for_tenant(tenant_id).production()
    return dict(versions.filter(model__name__in=model_names).values_list("model__name", "version"))


def _readings(asset: Asset, now: datetime) -> Iterator[Finding]:
    readings = readings_of(asset, now - 2 * COMPARED, now)
    index = drift.index_of(drift.Course(readings.times_us, readings.values), to_us(now))
    yield _of_index(Subject(DriftKind.READINGS), index, settings.DRIFT_STABILITY_INDEX, now)


def _features(asset: Asset, now: datetime) -> Iterator[Finding]:
    """Of what its forecasts used lately. The year before is read for what moved alone."""
    least = settings.DRIFT_STABILITY_INDEX
    used = used_by(asset, now - JUDGED, now)
    found = courses(asset, used, now - 2 * COMPARED, now)
    indices = {name: drift.index_of(course, to_us(now)) for name, course in found.items()}
    moved = used.only({name for name, index in indices.items() if index > least})
    limits = _limits(asset, moved, least, now)
    for name, index in indices.items():
        yield _of_index(Subject(DriftKind.FEATURE, feature=name), index, limits.get(name, least), now)


def _limits(asset: Asset, moved: Used, least: float, now: datetime) -> dict[str, float | None]:
    slow = {feature.name for feature in moved.features if drift.is_slow(feature)}
    return {
        name: drift.limit_of(course, to_us(now), least=least, is_slow=name in slow)
        for name, course in courses(asset, moved, now - YEAR_BEFORE, now).items()
    }


def _of_index(subject: Subject, index: float, limit: float | None, now: datetime) -> Finding:
    if limit is None or not np.isfinite(index):
        return Finding(subject)
    window_from = now - COMPARED
    measured = Measured(index, limit, window_from - COMPARED, window_from, window_until=now)
    return Finding(subject, measured, is_off=index > limit)


# Flags


def _subject(flag: DriftFlag) -> Subject:
    return Subject(DriftKind(flag.kind), flag.model_name, flag.model_version, flag.algorithm, flag.feature)


def _flag(
    whose: dict[str, str], subject: Subject, measured: Measured, *, is_off: bool, now: datetime
) -> None:
    """One row for each thing that can drift: raised, seen again, cleared."""
    about: dict[str, Any] = {**whose, **asdict(subject)}
    raised = DriftFlag.objects.filter(**about).raised()
    told: dict[str, Any] = {**asdict(measured), "seen_at": now}
    if is_off and not raised.update(**told):
        fresh = {**told, "raised_at": now, "cleared_at": None}
        flag, _ = DriftFlag.objects.update_or_create(**about, defaults=fresh)
        log.warning("drift_flagged", **_logged(flag))
    if not is_off and (cleared := raised.first()):
        _clear(cleared, now, told)


def _clear(flag: DriftFlag, now: datetime, told: Mapping[str, Any] | None = None) -> None:
    told = told or {}
    for name, value in told.items():
        setattr(flag, name, value)
    flag.cleared_at = now
    flag.save(update_fields=[*told, "cleared_at"])
    log.info("drift_cleared", **_logged(flag))


def _logged(flag: DriftFlag) -> dict[str, Any]:
    whose = {"tenant_id": flag.tenant_id, "asset_id": flag.asset_id}
    return {
        **whose,
        **asdict(_subject(flag)),
        "kind": str(flag.kind),
        "value": flag.value,
        "limit": flag.limit,
    }
