"""How far a feature moved, beside how far it moved in the year before: seasons move what nothing is wrong with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from features.catalog import FEATURES, HOUR, Calendar, Feature, Window
from forecasting.quality import Floats, Ints, population_stability_index

COMPARED = timedelta(days=28)  # with as many days before them: whole weeks
WEEKS_BEFORE = 52  # of whose windows the highest index is what the asset is used to
LEAST_WEEKS = 26  # half a year has one of the two steep changes of season
UNTRIED = 4  # times the limit, until there are so many
YEAR_BEFORE = timedelta(weeks=WEEKS_BEFORE) + 2 * COMPARED + COMPARED
# What the built-in forecasters call features of the catalogue. Their others are made of these, and move with them.
IN_CATALOGUE = {"lag_1d": "lag_24h", "lag_7d": "lag_168h", "rolling_avg_7d": "rolling_avg_168h"}
_MICROSECOND = timedelta(microseconds=1)
_COMPARED_US = COMPARED // _MICROSECOND
_WEEK_US = timedelta(weeks=1) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Course:
    """A feature over time: epoch microseconds, increasing, shape (n,); its values there, NaN where nothing is known."""

    times_us: Ints
    values: Floats


def watched(features_used: Iterable[str]) -> tuple[Feature, ...]:
    """The features of the catalogue among those that forecasts used. The calendar's cannot drift.

    >>> [feature.name for feature in watched(["lag_1d", "temperature", "hour_of_day", "trend"])]
    ['lag_24h', 'temperature']
    """
    names = sorted({IN_CATALOGUE.get(name, name) for name in features_used})
    found = (FEATURES[name] for name in names if name in FEATURES)
    return tuple(feature for feature in found if not isinstance(feature.source, Calendar))


def index_of(course: Course, until_us: int) -> float:
    """Population stability index of the COMPARED before `until_us` against as long before; NaN of too few values."""
    begin, middle, end = np.searchsorted(
        course.times_us, [until_us - 2 * _COMPARED_US, until_us - _COMPARED_US, until_us]
    )
    return population_stability_index(course.values[begin:middle], course.values[middle:end])


def limit_of(course: Course, until_us: int, *, least: float, is_slow: bool) -> float | None:
    """What the index as of `until_us` may be.

    Args:
        course: with the YEAR_BEFORE, as far as it is there.
        least: the limit of what has no seasons.
        is_slow: of windows longer than an hour, whose values share most of their readings: four weeks hold few that
            are apart, so their index is high without a cause.

    Returns:
        The highest index of the year before, in windows a week apart that end before the one judged begins, and no
        less than `least`. With fewer than LEAST_WEEKS of them UNTRIED times `least`, and None for what is slow:
        nothing can be said of it yet.
    """
    ends = until_us - _COMPARED_US - _WEEK_US * np.arange(WEEKS_BEFORE)
    before = np.array([index_of(course, int(end)) for end in ends])
    known = before[np.isfinite(before)]
    if known.size >= LEAST_WEEKS:
        return max(least, float(known.max()))
    return None if is_slow else UNTRIED * least


def is_slow(feature: Feature) -> bool:
    return isinstance(feature.source, Window) and feature.source.over > HOUR
