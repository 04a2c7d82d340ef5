"""Features for an answer: from the cache where they are there, else computed from the past.

A cached value stands under everything it depends on, the version of the asset's data among it, so a reading
just stored is in the next answer. Without the cache the answers are the same, only slower.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import structlog
from django.core.cache import cache
from django.utils import timezone
from redis.exceptions import RedisError

from features import compute, history
from features.catalog import Choice, Feature, WeatherAt
from features.errors import AssetUnknown
from features.known import KnownAsset, known_assets
from omarino import metrics
from omarino.epoch import MICROSECOND, to_us

WEATHER_KEEPS = timedelta(microseconds=compute.WEATHER_KEEPS_US)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """as_of: features as of this moment. as_known_at: leave out what reached us later; None for nothing."""

    choice: Choice
    as_of: datetime
    lookback: timedelta
    as_known_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """features: by name in the order asked for; None where nothing is known."""

    asset_id: str
    features: dict[str, float | int | None]
    computed_at: datetime
    cache_hit: bool


class _Door:
    """The cache, left alone for a while after it did not answer: one line in the log, and no waiting in a row."""

    def __init__(self, closed_for_s: float) -> None:
        self.closed_for_s = closed_for_s
        self._closed_until: float | None = None

    def fetch(self, keys: Sequence[str]) -> dict[str, Any]:
        if self._is_closed():
            metrics.FEATURE_CACHE_AWAY.inc(len(keys))
            return {}
        try:
            found = cache.get_many(keys)
        except RedisError as fault:
            self._close(fault)
            metrics.FEATURE_CACHE_AWAY.inc(len(keys))
            return {}
        self._open()
        metrics.FEATURE_CACHE_HITS.inc(len(found))
        metrics.FEATURE_CACHE_MISSES.inc(len(keys) - len(found))
        return found

    def keep(self, values: Mapping[str, Any]) -> None:
        if self._is_closed() or not values:
            return
        try:
            cache.set_many(dict(values))
        except RedisError as fault:
            self._close(fault)

    def _is_closed(self) -> bool:
        return self._closed_until is not None and time.monotonic() < self._closed_until

    def _close(self, fault: RedisError) -> None:
        if self._closed_until is None:
            log.warning("feature_cache_away", reason=type(fault).__name__)
        self._closed_until = time.monotonic() + self.closed_for_s

    def _open(self) -> None:
        if self._closed_until is not None:
            log.info("feature_cache_back")
            self._closed_until = None


DOOR = _Door(closed_for_s=5)


def get(*, tenant_id: str, asset_id: str, question: Question) -> Answer:
    """Raises AssetUnknown."""
    answers = get_batch(tenant_id=tenant_id, asset_ids=[asset_id], question=question)
    if not answers:
        raise AssetUnknown(asset_id=asset_id)
    return answers[0]


def get_batch(*, tenant_id: str, asset_ids: Sequence[str], question: Question) -> list[Answer]:
    """Of the assets that there are, in the order asked for; readings of all of them in one query."""
    # The version is read before the readings: what is stored in between makes a key that nobody asks for.
    known = known_assets(tenant_id=tenant_id, asset_ids=asset_ids)
    assets = [known[asset_id] for asset_id in dict.fromkeys(asset_ids) if asset_id in known]
    keys = {asset.asset_id: _key(tenant_id, asset, question) for asset in assets}
    cached = DOOR.fetch(list(keys.values()))
    fresh = _computed(tenant_id, [asset for asset in assets if keys[asset.asset_id] not in cached], question)
    now = timezone.now()
    DOOR.keep({keys[asset_id]: [now.isoformat(), features] for asset_id, features in fresh.items()})
    return [
        Answer(asset_id, fresh[asset_id], now, cache_hit=False)
        if asset_id in fresh
        else Answer(asset_id, cached[key][1], datetime.fromisoformat(cached[key][0]), cache_hit=True)
        for asset_id, key in keys.items()
    ]


def _key(tenant_id: str, asset: KnownAsset, question: Question) -> str:
    depends_on = (
        tenant_id,
        *asset,
        question.choice.identity,
        question.as_of.isoformat(),
        question.lookback.total_seconds(),
        question.as_known_at and question.as_known_at.isoformat(),
    )
    digest = hashlib.blake2b(repr(depends_on).encode(), digest_size=16).hexdigest()
    return f"features:{quote(tenant_id, safe='')[:64]}:{asset.asset_id}:{digest}"


def _computed(
    tenant_id: str, assets: Sequence[KnownAsset], question: Question
) -> dict[str, dict[str, float | int | None]]:
    if not assets:
        return {}
    asset_ids = [asset.asset_id for asset in assets]
    features, as_of = question.choice.features, question.as_of
    longest = max(asset.interval_minutes or compute.USUAL_INTERVAL_MINUTES for asset in assets)
    parts = compute.spans(features, longest, lookback=question.lookback)
    readings = history.windows(
        tenant_id=tenant_id,
        asset_ids=asset_ids,
        spans=[(as_of - start, as_of - until) for start, until in parts],
        as_known_at=question.as_known_at,
    )
    weather = {}
    if any(isinstance(feature.source, WeatherAt) for feature in features):
        weather = history.weather_of(
            tenant_id=tenant_id,
            asset_ids=asset_ids,
            start=as_of - WEATHER_KEEPS,
            before=as_of + MICROSECOND,
            as_known_at=question.as_known_at,
        )
    nothing = history.WeatherWindow(np.empty(0, dtype=np.int64), {})
    found = {}
    for asset in assets:
        times, values = readings.get(asset.asset_id, (np.empty(0, dtype=np.int64), np.empty(0)))
        seen = weather.get(asset.asset_id, nothing)
        past = compute.Past(
            times, values, seen.times_us, seen.columns, asset.timezone, asset.interval_minutes
        )
        moment = np.array([to_us(as_of)])
        columns = compute.rows(features, past, moment, lookback=question.lookback)
        found[asset.asset_id] = {
            feature.name: _plain(feature, columns[feature.name][0]) for feature in features
        }
    return found


def _plain(feature: Feature, value: np.float64) -> float | int | None:
    if np.isnan(value):
        return None
    return int(value) if feature.is_whole else float(value)
