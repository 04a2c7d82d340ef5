"""Which column of a table is what: as told, else by names that leave no doubt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from features.errors import ColumnNotFound, MetricInvalid
from features.models import METRIC_PATTERN, WEATHER_COLUMNS

TIMESTAMP_NAMES = (
    "timestamp",
    "datetime",
    "date_time",
    "utc_timestamp",
    "time",
    "date",
    "ts",
    "zeitstempel",
    "zeit",
    "datum",
)
VALUE_NAMES = (
    "value",
    "load",
    "demand",
    "consumption",
    "generation",
    "production",
    "power",
    "energy",
    "price",
    "w",
    "kw",
    "mw",
    "wh",
    "kwh",
    "mwh",
    "wert",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller said of the columns; None or empty: find it."""

    timestamp: str | None = None
    values: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    wide: bool = False
    quality: str | None = None
    metric_column: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """metrics: metric by column. `metric_column` names the metric of each row instead (a long table)."""

    timestamp: str
    metrics: dict[str, str]
    quality: str | None = None
    metric_column: str | None = None

    @property
    def columns(self) -> list[str]:
        optional = [name for name in (self.quality, self.metric_column) if name]
        return [self.timestamp, *self.metrics, *optional]

    def __str__(self) -> str:
        said = [f"timestamp = {self.timestamp!r}"]
        if self.metric_column:
            said += [f"metric = {self.metric_column!r}", f"value = {next(iter(self.metrics))!r}"]
        else:
            said += [f"{metric} = {column!r}" for column, metric in self.metrics.items()]
        return ", ".join([*said, *([f"quality = {self.quality!r}"] if self.quality else [])])


@dataclass(slots=True)
class _Names:
    names: Sequence[str]
    folded: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.folded = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in reversed(self.names)}

    def told(self, what: str, name: str) -> str:
        if name in self.names:
            return name
        raise self.unclear(what, f"There is no column {name!r}.")

    def first(self, candidates: Sequence[str]) -> str | None:
        return next((self.folded[name] for name in candidates if name in self.folded), None)

    def unclear(self, what: str, hint: str) -> ColumnNotFound:
        return ColumnNotFound(what=what, columns=", ".join(self.names), hint=hint)


def reading_layout(names: Sequence[str], wanted: Wanted) -> Layout:
    """The layout of a table of readings.

    Raises:
        ColumnNotFound: a named column is not there, or several could be meant.
        MetricInvalid: a column cannot lend its name to a metric.
    """
    known = _Names(names)
    timestamp = _timestamp(known, wanted)
    quality = (
        known.told("The column of quality", wanted.quality) if wanted.quality else known.first(("quality",))
    )
    metric_column = (
        known.told("The column of metrics", wanted.metric_column)
        if wanted.metric_column
        else known.first(("metric",))
    )
    if quality in wanted.values:
        quality = None
    if metric_column in wanted.values:
        metric_column = None
    others = [name for name in names if name not in (timestamp, quality, metric_column)]
    if wanted.values:
        columns = [known.told("The column of values", name) for name in wanted.values]
    elif wanted.wide:
        columns = others
    else:
        columns = [_value(known, others)]
    if metric_column and (len(columns) > 1 or wanted.metrics):
        hint = (
            f"The column {metric_column!r} names it, and so does what was asked for. Leave one of them out."
        )
        raise known.unclear("The metric of a row", hint)
    if metric_column:
        return Layout(timestamp, {columns[0]: ""}, quality, metric_column)
    return Layout(timestamp, _metrics(known, columns, wanted), quality)


def weather_layout(names: Sequence[str], wanted: Wanted) -> Layout:
    """The layout of a table of weather: every column that is called as in `weather_features`."""
    known = _Names(names)
    timestamp = _timestamp(known, wanted)
    found = {known.folded[name]: name for name in WEATHER_COLUMNS if name in known.folded}
    if wanted.values:
        told = [known.told("The column of weather", name) for name in wanted.values]
        found = dict(zip(told, wanted.metrics or wanted.values, strict=False))
        if len(told) != len(found) or not set(found.values()) <= set(WEATHER_COLUMNS):
            raise known.unclear(
                "What the columns of weather mean", f"Weather is {', '.join(WEATHER_COLUMNS)}."
            )
    if not found:
        raise known.unclear("The weather", f"Weather is {', '.join(WEATHER_COLUMNS)}.")
    return Layout(timestamp, found)


def check_metric(metric: str) -> str:
    if not re.fullmatch(METRIC_PATTERN, metric):
        raise MetricInvalid(metric=metric[:80])
    return metric


def _timestamp(known: _Names, wanted: Wanted) -> str:
    what = "The column of timestamps"
    if wanted.timestamp:
        return known.told(what, wanted.timestamp)
    if {"date", "time"} <= known.folded.keys() and not {"timestamp", "datetime"} & known.folded.keys():
        raise known.unclear(what, "Date and time stand in two columns; join them into one.")
    found = known.first(TIMESTAMP_NAMES) or (known.names[0] if known.names[0] in ("", "1") else None)
    if found is None:
        raise known.unclear(what, "Name it.")
    return found


def _value(known: _Names, others: list[str]) -> str:
    found = known.first(VALUE_NAMES)
    if found in others:
        return found
    if len(others) == 1:
        return others[0]
    raise known.unclear("The column of values", "Name it, or say that every column is a metric (wide).")


def _metrics(known: _Names, columns: list[str], wanted: Wanted) -> dict[str, str]:
    metrics = list(wanted.metrics)
    if not metrics:
        metrics = ["value"] if len(columns) == 1 and not wanted.wide else columns
    if len(metrics) != len(columns) or len(set(metrics)) != len(metrics):
        raise known.unclear(
            "Which metric is in which column", f"There are {len(columns)} columns and {len(metrics)} names."
        )
    return dict(zip(columns, map(check_metric, metrics), strict=True))
