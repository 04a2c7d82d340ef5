"""How good forecasts turned out to be, once the readings came; and whether readings still look as they did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from forecasting import metrics
from forecasting.answered import Answered

LEVELS = (0.1, 0.5, 0.9)
NOMINAL_COVERAGE = 0.8
LEAD_HOURS = (6, 24, 72, 168)  # a score is of the leads up to here, from the one before
PSI_BINS = 10
PSI_LEAST = 100  # points on either side; of fewer the index says more of them than of the process
_US_PER_MINUTE = 60_000_000
_US_PER_DAY = 86_400_000_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Issued:
    """What one forecast said. quantiles: shape (steps, 3), p10, p50, p90; times in epoch microseconds, UTC."""

    answered: Answered
    first_target_us: int
    interval_minutes: int
    made_at_us: int
    quantiles: Floats


@dataclass(frozen=True, slots=True)
class Readings:
    """Of one asset, oldest first: times in epoch microseconds, values without NaN, `minutes` apart."""

    times_us: Ints
    values: Floats
    minutes: float
    adds_up: bool


@dataclass(frozen=True, slots=True)
class Score:
    """Of the outcomes of one UTC day that one algorithm had forecast at one range of leads.

    mae, pinball and bias are in the unit of the series; bias is forecast minus observed; size is the mean of
    |observed|, that which an error is large or small beside.
    """

    answered: Answered
    lead_hours: int
    day: date
    count: int
    mae: float
    pinball: float
    coverage: float
    bias: float
    size: float


def observed_at(targets_us: Ints, interval_minutes: int, readings: Readings) -> Floats:
    """What was read in the interval that begins at each target, in the unit of the series.

    Args:
        targets_us: shape (n,), epoch microseconds.
        interval_minutes: length of the intervals.

    Returns:
        Shape (n,): the mean of the readings in [target, target + interval), or their sum where they add up, a missing
        part taken as the others. NaN where less than half of them are there, and everywhere when readings come
        more than one and a half intervals apart: what lies between them was not measured.
    """
    step = interval_minutes * _US_PER_MINUTE
    expected = interval_minutes / readings.minutes
    if expected < 2 / 3 or not readings.values.size:
        return np.full(targets_us.shape, np.nan)
    expected = max(1.0, round(expected))
    first = np.searchsorted(readings.times_us, targets_us, side="left")
    end = np.searchsorted(readings.times_us, targets_us + step, side="left")
    sums = np.concatenate(([0.0], np.cumsum(readings.values)))
    count = end - first
    enough = 2 * count >= expected
    mean = np.where(enough, sums[end] - sums[first], np.nan) / np.where(enough, count, 1)
    return np.asarray(mean * expected if readings.adds_up else mean)


def scores(issued: Sequence[Issued], readings: Readings, *, from_us: int, before_us: int) -> Iterator[Score]:
    """Score every step whose target lies in [from_us, before_us) and whose reading is there, by who answered, lead and day.

    Targets at or before the moment their forecast was made are left out: nobody needed to foresee them. So are
    leads past the last of LEAD_HOURS.
    """
    edges = np.array(LEAD_HOURS) * 60
    who = sorted({each.answered for each in issued})
    parts = []
    for each in issued:
        steps = np.arange(len(each.quantiles))
        targets = each.first_target_us + steps * each.interval_minutes * _US_PER_MINUTE
        lead = np.searchsorted(edges, (steps + 1) * each.interval_minutes, side="left")
        observed = observed_at(targets, each.interval_minutes, readings)
        wanted = (targets >= from_us) & (targets < before_us) & (targets > each.made_at_us)
        wanted &= (lead < len(edges)) & np.isfinite(observed)
        group = (who.index(each.answered) * len(edges) + lead) * 100_000 + targets // _US_PER_DAY
        parts.append((group[wanted], observed[wanted], each.quantiles[wanted]))
    if not parts:
        return
    groups, observed, quantiles = (np.concatenate(column) for column in zip(*parts, strict=True))
    for group in np.unique(groups).tolist():
        chosen = groups == group
        who_and_lead, day = divmod(group, 100_000)
        index, lead_index = divmod(who_and_lead, len(edges))
        yield _score(who[index], LEAD_HOURS[lead_index], day, observed[chosen], quantiles[chosen])


def _score(answered: Answered, lead_hours: int, day: int, observed: Floats, quantiles: Floats) -> Score:
    return Score(
        answered=answered,
        lead_hours=lead_hours,
        day=np.datetime64(day, "D").astype(object),
        count=observed.size,
        mae=metrics.mean_absolute_error(observed, quantiles[:, 1]),
        pinball=metrics.mean_pinball_loss(observed, quantiles, LEVELS),
        coverage=metrics.coverage(observed, quantiles[:, 0], quantiles[:, 2]),
        bias=float(np.mean(quantiles[:, 1] - observed)),
        size=float(np.mean(np.abs(observed))),
    )


def population_stability_index(reference: Floats, current: Floats) -> float:
    """How far the values of `current` are spread otherwise than those of `reference`; 0 is alike.

    Args:
        reference, current: shapes (n,) and (m,). NaN counts nowhere.

    Returns:
        Sum over the tenths of `reference` of (q - p) ln(q / p), where p and q are the shares of the two in it, half
        a point added to each so that an empty tenth counts and is not infinite. NaN when either has fewer than
        PSI_LEAST points, or `reference` is a constant. Below 0.1 is commonly read as stable and above 0.25 as moved
        (Siddiqi 2006, Credit Risk Scorecards); those are of independent points, which readings are not.

    >>> round(population_stability_index(np.arange(1000.0), np.arange(1000.0)), 6)
    0.0
    >>> population_stability_index(np.arange(1000.0), np.arange(1000.0) + 500) > 0.25
    True
    """
    reference, current = reference[np.isfinite(reference)], current[np.isfinite(current)]
    if min(reference.size, current.size) < PSI_LEAST:
        return float("nan")
    edges = np.unique(np.quantile(reference, np.arange(1, PSI_BINS) / PSI_BINS))
    if reference.min() == reference.max():
        return float("nan")
    p, q = (
        _shares(np.searchsorted(edges, part, side="right"), edges.size + 1) for part in (reference, current)
    )
    return float(np.sum((q - p) * np.log(q / p)))


def _shares(tenths: Ints, bins: int) -> Floats:
    counted = np.bincount(tenths, minlength=bins) + 0.5
    return np.asarray(counted / counted.sum())
