"""Blocks of a table as batches of readings or weather; what cannot be taken is counted with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.batches import ReadingBatch, Rejections, WeatherBatch
from features.columns import Layout, check_metric
from features.errors import ColumnNotFound, MetricInvalid
from features.readings_file import Block, Table
from features.timestamps import Clock, Times, from_arrow_timestamps, parse_format, parse_iso
from features.values import Values, from_arrow_numbers, parse_numbers

MAX_QUALITY = 32


@dataclass(slots=True)
class Notation:
    """How times and numbers are written. `timestamp_format` None: ISO 8601."""

    clock: Clock = field(default_factory=Clock)
    timestamp_format: str | None = None
    decimal: str = "."


def reading_batches(
    table: Table, layout: Layout, notation: Notation, rejections: Rejections
) -> Iterator[ReadingBatch]:
    """Readings of a wide table (a column a metric) or a long one (a row a metric), block by block."""
    for block in table.blocks(layout.columns, rejections):
        if layout.metric_column:
            yield from _long(block, layout, notation, rejections)
        else:
            yield from _wide(block, layout, notation, rejections)


def weather_batches(
    table: Table, layout: Layout, notation: Notation, rejections: Rejections
) -> Iterator[WeatherBatch]:
    """Weather, where an empty cell says nothing and a row that says nothing at all is rejected."""
    for block in table.blocks(layout.columns, rejections):
        times = _times(block, layout, notation)
        problems = dict(times.problems)
        columns = {}
        for column, name in layout.metrics.items():
            values = _values(block, column, notation)
            columns[name] = values.numbers
            for index, reason in values.problems.items():
                if reason != "no value":
                    problems.setdefault(index, f"{name}: {reason}")
        unsaid = np.all([np.isnan(values) for values in columns.values()], axis=0)
        for index in np.nonzero(unsaid)[0].tolist():
            problems.setdefault(index, "no value")
        good = _report(block, problems, rejections)
        kept = {name: values[good] for name, values in columns.items()}
        yield WeatherBatch(block.rows[good], times.us[good], kept)


def _wide(block: Block, layout: Layout, notation: Notation, rejections: Rejections) -> Iterator[ReadingBatch]:
    times = _times(block, layout, notation)
    quality, quality_problems = _quality(block, layout)
    by_row = {**quality_problems, **times.problems}
    good_times = _report(block, by_row, rejections)
    several = len(layout.metrics) > 1
    for column, metric in layout.metrics.items():
        values = _values(block, column, notation)
        told = {
            index: f"{metric}: {reason}" if several else reason
            for index, reason in values.problems.items()
            if index not in by_row
        }
        good = good_times & _report(block, told, rejections)
        yield _batch(metric, block, times, values, quality, good)


def _long(block: Block, layout: Layout, notation: Notation, rejections: Rejections) -> Iterator[ReadingBatch]:
    metrics = _texts(block.columns[layout.metric_column or ""])
    names = ["" if name is None else name for name in metrics.to_pylist()]
    times = _times(block, layout, notation, names)
    quality, problems = _quality(block, layout)
    problems |= times.problems
    (column,) = layout.metrics
    values = _values(block, column, notation)
    for index, reason in values.problems.items():
        problems.setdefault(index, reason)
    distinct = list(dict.fromkeys(names))
    for name in distinct:
        try:
            check_metric(name)
        except MetricInvalid as fault:
            same = pc.equal(metrics.fill_null(""), name).to_numpy(zero_copy_only=False)
            problems |= {index: str(fault) for index in np.nonzero(same)[0].tolist() if index not in problems}
    good = _report(block, problems, rejections)
    for name in distinct:
        of_metric = good & pc.equal(metrics.fill_null(""), name).to_numpy(zero_copy_only=False)
        yield _batch(name, block, times, values, quality, of_metric)


def _batch(
    metric: str,
    block: Block,
    times: Times,
    values: Values,
    quality: pa.StringArray | None,
    good: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> ReadingBatch:
    if good.all():
        return ReadingBatch(metric, block.rows, times.us, values.numbers, quality)
    kept = None if quality is None else quality.filter(pa.array(good))
    return ReadingBatch(metric, block.rows[good], times.us[good], values.numbers[good], kept)


def _report(
    block: Block, problems: dict[int, str], rejections: Rejections
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Count what is wrong; True where nothing is."""
    good = np.ones(block.rows.size, dtype=bool)
    for index in sorted(problems):
        good[index] = False
        rejections.add(int(block.rows[index]), problems[index])
    return good


def _times(block: Block, layout: Layout, notation: Notation, series: list[str] | None = None) -> Times:
    column = block.columns[layout.timestamp]
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        written = from_arrow_timestamps(column)
    elif pa.types.is_string(column.type) or pa.types.is_null(column.type):
        texts = _texts(column)
        form = notation.timestamp_format
        written = parse_iso(texts) if form is None else parse_format(texts, form)
    else:
        hint = f"The column {layout.timestamp!r} holds {column.type}, not texts or timestamps."
        raise ColumnNotFound(what="The time", columns=", ".join(block.columns), hint=hint)
    return notation.clock.read(written, series)


def _values(block: Block, column: str, notation: Notation) -> Values:
    stored = block.columns[column]
    kind = stored.type
    if pa.types.is_string(kind):
        return parse_numbers(stored.fill_null(""), notation.decimal)
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        return from_arrow_numbers(stored)
    hint = f"The column {column!r} holds {kind}, not numbers."
    raise ColumnNotFound(what="The value", columns=", ".join(block.columns), hint=hint)


def _quality(block: Block, layout: Layout) -> tuple[pa.StringArray | None, dict[int, str]]:
    if layout.quality is None:
        return None, {}
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(_texts(block.columns[layout.quality])))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    long = pc.greater(pc.utf8_length(texts), MAX_QUALITY).fill_null(False)
    wrong = pc.or_(long, pc.match_substring(texts, "\0").fill_null(False)).to_numpy(zero_copy_only=False)
    reason = f"quality is longer than {MAX_QUALITY} characters or no text"
    return texts, dict.fromkeys(np.nonzero(wrong)[0].tolist(), reason)


def _texts(column: pa.Array) -> pa.StringArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())
