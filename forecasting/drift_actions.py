"""What moved since: flags that ask for a training, raised and cleared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from django.conf import settings
from django.db.models import F, Sum

from features.models import Asset
from forecasting import quality
from forecasting.answered import BUILT_IN_VERSION, REGISTERED
from forecasting.models import DriftFlag, DriftKind, ForecastScore
from forecasting.observed import readings_of
from omarino.epoch import to_us
from registry.models import ModelVersion

JUDGED = timedelta(days=14)  # of scores, before a band is said to hold too much or too little
OUTCOMES_TO_JUDGE = 96
COMPARED = timedelta(days=28)  # of readings, with as many before them: whole weeks
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a flag speaks of, of its asset."""

    kind: DriftKind
    model_name: str = ""
    model_version: str = ""
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """value: of the subject, and whether that is off by the limit. None: too little to say, so a flag stays as it is."""

    subject: Subject
    value: float | None = None
    limit: float = 0.0
    is_off: bool = False


def find_drift(*, tenant_id: str, asset_id: str, now: datetime) -> None:
    """Raise and clear the flags of an asset."""
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=asset_id).first()
    findings = [] if asset is None else [*_coverages(asset, now), *_readings(asset, now)]
    whose = {"tenant_id": tenant_id, "asset_id": asset_id}
    for finding in findings:
        if finding.value is not None:
            _flag(whose, finding, now)
    spoken_of = {finding.subject for finding in findings}
    for flag in DriftFlag.objects.filter(**whose).raised():
        if _subject(flag) not in spoken_of:
            _clear(flag, now)


def _coverages(asset: Asset, now: datetime) -> Iterator[Finding]:
    """Of the versions that answer now. What they replaced is judged no more."""
    scores = ForecastScore.objects.for_tenant(asset.tenant_id).filter(
        asset_id=asset.asset_id, day__gte=(now - JUDGED).date()
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
        yield Finding(subject, share, limit, is_off=abs(share - quality.NOMINAL_COVERAGE) > limit)


def _versions_now(tenant_id: str, model_names: set[str]) -> dict[str, str]:
    versions = ModelVersion.objects.for_tenant(tenant_id).production()
    return dict(versions.filter(model__name__in=model_names).values_list("model__name", "version"))


def _readings(asset: Asset, now: datetime) -> Iterator[Finding]:
    readings = readings_of(asset, now - 2 * COMPARED, now)
    earlier = readings.times_us < to_us(now - COMPARED)
    index = quality.population_stability_index(readings.values[earlier], readings.values[~earlier])
    yield _of_index(Subject(DriftKind.READINGS), index, settings.DRIFT_STABILITY_INDEX)


def _of_index(subject: Subject, index: float, limit: float) -> Finding:
    return Finding(subject, index, limit, is_off=index > limit) if np.isfinite(index) else Finding(subject)


# Flags


def _subject(flag: DriftFlag) -> Subject:
    return Subject(DriftKind(flag.kind), flag.model_name, flag.model_version, flag.algorithm)


def _flag(whose: dict[str, str], finding: Finding, now: datetime) -> None:
    """One row for each thing that can drift: raised, seen again, cleared."""
    about: dict[str, Any] = {**whose, **asdict(finding.subject)}
    raised = DriftFlag.objects.filter(**about).raised()
    told: dict[str, Any] = {"value": finding.value, "limit": finding.limit, "seen_at": now}
    if finding.is_off and not raised.update(**told):
        fresh = {**told, "raised_at": now, "cleared_at": None}
        _log("drift_flagged", DriftFlag.objects.update_or_create(**about, defaults=fresh)[0])
    if not finding.is_off and (flag := raised.first()):
        _clear(flag, now, **told)


def _clear(flag: DriftFlag, now: datetime, **told: Any) -> None:
    for name, value in told.items():
        setattr(flag, name, value)
    flag.cleared_at = now
    flag.save(update_fields=[*told, "cleared_at"])
    _log("drift_cleared", flag)


def _log(event: str, flag: DriftFlag) -> None:
    tell = log.warning if event == "drift_flagged" else log.info
    about = asdict(_subject(flag)) | {"kind": str(flag.kind)}
    tell(
        event,
        tenant_id=flag.tenant_id,
        asset_id=flag.asset_id,
        **about,
        value=flag.value,
        limit=flag.limit,
    )
