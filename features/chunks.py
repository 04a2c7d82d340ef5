"""The past of many assets in parts that fit memory, each with its features, computed while the next is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Count

from features import compute, history
from features.catalog import Feature, WeatherAt
from features.models import Asset, Reading, Weather
from omarino.epoch import to_us

ROWS_AT_ONCE = 65_536  # readings and weather of a part
DAYS_AT_ONCE = timedelta(days=366)  # of an asset that has more than that
ASSETS_AT_ONCE = 64  # are counted before the first of them is read
WEATHER_KEEPS = timedelta(microseconds=compute.WEATHER_KEEPS_US)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The features as of each reading in [start, before), of these assets or, with None, of all the tenant's."""

    tenant_id: str
    features: Sequence[Feature]
    start: datetime
    before: datetime
    asset_ids: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one asset.

    times_us, target: the readings, as `history.window` gives them, shape (n,) both.
    columns: the features as of each of those times, as `compute.rows` gives them.
    share: of the whole that is done with this chunk, 0..1.
    """

    asset_id: str
    times_us: history.Times
    target: history.Values
    columns: dict[str, history.Values]
    share: float


@dataclass(frozen=True, slots=True)
class _Part:
    """What is read at once: some assets for all the time, or one for some of it."""

    assets: list[Asset]
    start: datetime
    before: datetime
    share: float


@dataclass(frozen=True, slots=True)
class _Read:
    part: _Part
    readings: dict[str, tuple[history.Times, history.Values]]
    weather: dict[str, history.WeatherWindow]


def chunks(wanted: Wanted) -> Iterator[Chunk]:
    """All rows, by asset and then by time; never more of the past in memory than two parts of it.

    One part is computed in another thread while the database is asked for the next, in this one.
    Each part is what is stored when it is read.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="export-computer") as computer:
        ahead: Future[list[Chunk]] | None = None
        for read in _reads(wanted):
            following = computer.submit(_computed, wanted, read)
            if ahead is not None:
                yield from ahead.result()
            ahead = following
        if ahead is not None:
            yield from ahead.result()


def _computed(wanted: Wanted, read: _Read) -> list[Chunk]:
    known = (asset for asset in read.part.assets if asset.asset_id in read.readings)
    return [chunk for asset in known for chunk in _of_asset(wanted, read, asset)]


def _of_asset(wanted: Wanted, read: _Read, asset: Asset) -> Iterator[Chunk]:
    times, values = read.readings[asset.asset_id]
    rows = slice(*np.searchsorted(times, [to_us(read.part.start), to_us(read.part.before)]).tolist())
    if rows.start == rows.stop:
        return
    seen = read.weather.get(asset.asset_id) or history.WeatherWindow(np.empty(0, dtype=np.int64), {})
    past = compute.Past(times, values, seen.times_us, seen.columns, asset.timezone, asset.interval_minutes)
    columns = compute.rows(wanted.features, past, times[rows])
    yield Chunk(asset.asset_id, times[rows], values[rows], columns, read.part.share)


def _reads(wanted: Wanted) -> Iterator[_Read]:
    weather_columns = sorted(
        {each.source.column for each in wanted.features if isinstance(each.source, WeatherAt)}
    )
    for part in _parts(wanted, needs_weather=bool(weather_columns)):
        about: dict[str, Any] = {
            "tenant_id": wanted.tenant_id,
            "asset_ids": [asset.asset_id for asset in part.assets],
        }
        readings = history.windows(**about, spans=_spans(wanted.features, part))
        weather = {}
        if weather_columns and readings:
            start = part.start - WEATHER_KEEPS
            weather = history.weather_of(**about, start=start, before=part.before, columns=weather_columns)
        yield _Read(part, readings, weather)


def _spans(features: Sequence[Feature], part: _Part) -> list[history.Span]:
    """The part itself and what its features look back at: disjoint, so that no week between is fetched."""
    longest = max(asset.interval_minutes or compute.USUAL_INTERVAL_MINUTES for asset in part.assets)
    looked_at = [(part.start - far, part.before - near) for far, near in compute.spans(features, longest)]
    merged: list[history.Span] = []
    for start, before in sorted([*looked_at, (part.start, part.before)]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], before))
        else:
            merged.append((start, before))
    return merged


def _parts(wanted: Wanted, *, needs_weather: bool) -> Iterator[_Part]:
    assets = _assets(wanted)
    for begin in range(0, len(assets), ASSETS_AT_ONCE):
        page = assets[begin : begin + ASSETS_AT_ONCE]
        sizes = _sizes(wanted, page, needs_weather=needs_weather)
        group: list[Asset] = []
        held = 0
        for number, asset in enumerate(page, start=begin + 1):
            size = sizes.get(asset.asset_id, 0)
            if group and held + size > ROWS_AT_ONCE:
                yield _Part(group, wanted.start, wanted.before, (number - 1) / len(assets))
                group, held = [], 0
            if size > ROWS_AT_ONCE:
                yield from _parts_of(wanted, asset, number - 1, len(assets))
            elif size:
                group.append(asset)
                held += size
        if group:
            yield _Part(group, wanted.start, wanted.before, (begin + len(page)) / len(assets))


def _parts_of(wanted: Wanted, asset: Asset, done: int, total: int) -> Iterator[_Part]:
    """One asset with more readings than are held at once, a stretch of time after the other."""
    readings = Reading.objects.for_tenant(wanted.tenant_id).filter(asset_id=asset.asset_id, metric="value")
    start = wanted.start
    while start < wanted.before:
        before = min(start + DAYS_AT_ONCE, wanted.before)
        ahead = readings.filter(timestamp__gte=start, timestamp__lt=before).order_by("timestamp")
        times = ahead.values_list("timestamp", flat=True)
        before = next(iter(times[ROWS_AT_ONCE : ROWS_AT_ONCE + 1]), before)
        share = (before - wanted.start) / (wanted.before - wanted.start)
        yield _Part([asset], start, before, (done + share) / total)
        start = before


def _assets(wanted: Wanted) -> list[Asset]:
    assets = Asset.objects.for_tenant(wanted.tenant_id).order_by("asset_id")
    if wanted.asset_ids is not None:
        assets = assets.filter(asset_id__in=wanted.asset_ids)
    return list(assets.only("asset_id", "timezone", "interval_minutes"))


def _sizes(wanted: Wanted, assets: Sequence[Asset], *, needs_weather: bool) -> dict[str, int]:
    """How much would have to be held for each asset; nothing for one without a reading in that time."""
    within = {
        "asset_id__in": [asset.asset_id for asset in assets],
        "timestamp__gte": wanted.start,
        "timestamp__lt": wanted.before,
    }
    readings = Reading.objects.for_tenant(wanted.tenant_id).filter(metric="value", **within)
    sizes = dict(readings.values_list("asset_id").annotate(count=Count("*")))
    if needs_weather:
        weather = Weather.objects.for_tenant(wanted.tenant_id).filter(**within)
        for asset_id, count in weather.values_list("asset_id").annotate(count=Count("*")):
            if asset_id in sizes:
                sizes[asset_id] += count
    return sizes
