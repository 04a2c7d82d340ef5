"""Readings and weather in the body of a request, made into batches without an object a point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from features.batches import ReadingBatch, Rejections, WeatherBatch
from features.columns import check_metric
from features.errors import MetricInvalid
from features.models import WEATHER_COLUMNS
from features.parse import MAX_QUALITY
from features.timestamps import Clock, Times, parse_iso
from features.values import Values

OF_READING = ("timestamp", "metric", "value", "values", "quality")
NO_METRIC_NAMES = {"timestamp", "quality"}


def reading_items(items: list[Any], rejections: Rejections) -> Iterator[ReadingBatch]:
    """`{timestamp, metric?, value, quality?}` or `{timestamp, values: {metric: number}, quality?}`, counted from 1."""
    times = _times(items)
    problems = dict(times.problems)
    found: dict[str, tuple[list[int], list[float], list[str | None]]] = {}
    for index, item in enumerate(items):
        if index in problems:
            continue
        quality = item.get("quality")
        if quality is not None and not _is_quality(quality):
            problems[index] = f"quality is not a text of at most {MAX_QUALITY} characters"
            continue
        values = _values(item)
        if isinstance(values, str):
            problems[index] = values
            continue
        for metric, value in values.items():
            if (kind := type(value)) is not float and kind is not int:
                reason = "no value" if value is None else f"{value!r:.40} is not a number"
                rejections.add(index + 1, reason if metric == "value" else f"{metric:.64}: {reason}")
                continue
            indices, numbers, qualities = found.setdefault(metric, ([], [], []))
            indices.append(index)
            numbers.append(value)
            qualities.append(quality)
    for index in sorted(problems):
        rejections.add(index + 1, problems[index])
    for metric, (indices, numbers, qualities) in found.items():
        yield from _batch(metric, np.array(indices), numbers, qualities, times, rejections)


def _values(item: Mapping[str, Any]) -> dict[str, Any] | str:
    """By metric what was read, or what is wrong with it: ignored, it would store one metric over the other."""
    for name in item.keys() - set(OF_READING):
        if name.lower().rstrip("s") in ("metric", "value"):
            return f"{name!r:.40} is no part of a reading; that is {', '.join(OF_READING)}"
    if "values" not in item:
        metric = item.get("metric", "value")
        return {metric: item.get("value")} if isinstance(metric, str) else "metric is not a text"
    if "metric" in item or "value" in item:
        return "values stands alone: it names each metric and its value"
    values = item["values"]
    return values if isinstance(values, dict) and values else "values is not an object of numbers"


def weather_items(items: list[Any], rejections: Rejections) -> Iterator[WeatherBatch]:
    """`{timestamp, temperature, ...}` or `{timestamp, values: {temperature: ..., ...}}`, counted from 1."""
    times = _times(items)
    problems = dict(times.problems)
    columns = {name: np.full(len(items), np.nan) for name in WEATHER_COLUMNS}
    for index, item in enumerate(items):
        if index in problems:
            continue
        said = item.get(
            "values", {name: value for name, value in item.items() if name not in NO_METRIC_NAMES}
        )
        reason = _wrong_weather(said)
        if reason:
            problems[index] = reason
            continue
        for name, value in said.items():
            if value is not None:
                columns[name][index] = value
    for name, column in columns.items():
        said_here = ~np.isnan(column)
        for index, reason in Values(column[said_here], {}).problems.items():
            problems.setdefault(int(np.nonzero(said_here)[0][index]), f"{name}: {reason}")
    good = np.ones(len(items), dtype=bool)
    for index in sorted(problems):
        good[index] = False
        rejections.add(index + 1, problems[index])
    rows = np.arange(1, len(items) + 1)
    yield WeatherBatch(rows[good], times.us[good], {name: column[good] for name, column in columns.items()})


def _times(items: list[Any]) -> Times:
    texts: list[str] = []
    problems: dict[int, str] = {}
    for index, item in enumerate(items):
        text = item.get("timestamp") if isinstance(item, dict) else None
        if not isinstance(text, str):
            problems[index] = "no timestamp" if isinstance(item, dict) else "not an object"
            text = "1970-01-01"
        texts.append(text)
    times = Clock().read(parse_iso(pa.array(texts, pa.string())))
    times.problems.update(problems)
    return times


def _batch(
    metric: str,
    indices: np.ndarray[tuple[int], np.dtype[np.int64]],
    numbers: list[float],
    qualities: list[str | None],
    times: Times,
    rejections: Rejections,
) -> Iterator[ReadingBatch]:
    try:
        check_metric(metric)
    except MetricInvalid as fault:
        for index in indices.tolist():
            rejections.add(index + 1, str(fault))
        return
    values = Values(np.array(numbers, dtype=np.float64), {})
    good = np.ones(indices.size, dtype=bool)
    for position, reason in values.problems.items():
        good[position] = False
        rejections.add(int(indices[position]) + 1, reason)
    said = None
    if any(quality is not None for quality in qualities):
        folded = [None if quality is None else quality.strip().lower() or None for quality in qualities]
        said = pa.array(folded, pa.string()).filter(pa.array(good))
    yield ReadingBatch(metric, indices[good] + 1, times.us[indices[good]], values.numbers[good], said)


def _is_quality(quality: Any) -> bool:
    return isinstance(quality, str) and len(quality) <= MAX_QUALITY and "\0" not in quality


def _wrong_weather(said: Any) -> str | None:
    if not isinstance(said, Mapping):
        return "values is not an object of numbers"
    if unknown := [name for name in said if name not in WEATHER_COLUMNS]:
        return f"{unknown[0]!r:.40} is no weather; that is {', '.join(WEATHER_COLUMNS)}"
    if all(value is None for value in said.values()):
        return "no value"
    for name, value in said.items():
        if value is not None and type(value) not in (int, float):
            return f"{name}: {value!r:.40} is not a number"
    return None
