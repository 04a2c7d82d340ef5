"""Gradient boosted trees that forecast every lead directly: the lead is a feature."""

from __future__ import annotations

from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.base import Outcome, Problem
from forecasting.forecasters.days import WEEK, Days, cut_into_days
from forecasting.forecasters.design import Design, designs_of
from forecasting.forecasters.outcome import Points, outcome
from forecasting.forecasters.parts import Parts, same_weekdays_parts, unit_of
from forecasting.forecasters.short_history import forecast_short, leaning_on_recent_days, too_short_to_learn

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS = 6_000
TREES = 50
SAME_WEEKDAYS_MEAN = "mean_of_4_same_weekdays"
OF_CLOCK = ("hour_of_day", "day_of_week", "is_holiday", SAME_WEEKDAYS_MEAN, "lead")  # the last columns
_FEWEST_ROWS = 10
_PARAMETERS = {
    "objective": "l1",
    "num_leaves": 15,
    "learning_rate": 0.1,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "max_bin": 63,
    "num_threads": 1,  # LightGBM with more threads hangs in a process that forks later
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sampled cells of the designs: which lead, origin row and slot, and what the trees see there."""

    lead: Ints
    row: Ints
    slot: Ints
    features: NDArray[np.float32]


def boosted_points(
    days: Days, designs: list[Design], seed: int, rows: int = ROWS, *, explained: bool = False
) -> Points:
    """Two boosters, each learning from every other week and predicting the weeks of the other.

    The forecast is the mean of both; what each says of weeks it has not seen is the honest past, so
    the band costs no further fit. Rows are drawn from all leads and slots, recent ones more often.
    """
    sample = _drawn(days, designs, seed, 2 * rows)
    week = np.concatenate([design.day for design in designs])[_flat(designs, sample)] // WEEK % 2
    target = _cells(designs, sample, "target")
    scale = float(np.abs(target).mean()) or 1.0
    coming = _rows_ahead(days, designs)
    held = np.full((days.ahead, days.count, days.slots), np.nan)
    ahead = np.zeros(coming.lead.size)
    added = np.zeros((coming.lead.size, coming.features.shape[1] + 1))
    for side in (0, 1):
        known = np.flatnonzero(week == side)[:rows]
        judged = np.flatnonzero(week != side)
        booster = _grown(sample.features[known], target[known] / scale, seed)
        judged_part = _said(booster, sample.features[judged])
        ahead += _said(booster, coming.features) * scale / 2
        if explained and booster is not None:
            added += _said(booster, coming.features, pred_contrib=True) * scale / 2
        origin = np.concatenate([design.day - j for j, design in enumerate(designs, 1)])[
            _flat(designs, sample)
        ]
        held[sample.lead[judged], origin[judged], sample.slot[judged]] = (
            _cells(designs, sample, "base")[judged] + judged_part * scale
        )
    base = np.stack([design.base[-1] for design in designs])
    points = np.maximum(base + ahead.reshape(base.shape), days.floor)
    parts = _parts(days, designs, coming, added, base).reaching("limits", points) if explained else None
    return Points(points, np.maximum(held, days.floor), parts=parts)


def _parts(days: Days, designs: list[Design], coming: _Rows, added: Floats, base: Floats) -> Parts:
    """The mean of same weekdays, and what the trees add to it by TreeSHAP; their mean belongs to the base.

    A column beyond those of a lead only tells the lead.
    """
    parts = same_weekdays_parts(days, base)
    parts = replace(parts, base=parts.base + added[:, -1].reshape(base.shape))
    columns = coming.features.shape[1] - len(OF_CLOCK)
    for k in range(coming.features.shape[1]):
        column = added[:, k].reshape(base.shape)
        value = coming.features[:, k].astype(np.float64).reshape(base.shape)
        if k >= columns:
            name = OF_CLOCK[k - columns]
            parts = parts.plus(name, column, value * (days.unit if name == SAME_WEEKDAYS_MEAN else 1.0))
            continue
        for lead, design in enumerate(designs):
            name = design.names[k] if k < len(design.names) else "lead"
            amount = np.zeros(base.shape)
            amount[lead] = column[lead]
            known = parts.values.get(name, np.full(base.shape, np.nan)).copy()
            known[lead] = value[lead] * unit_of(name, days)
            parts = parts.plus(name, amount, known if name != "lead" else None)
    return parts


def _grown(features: NDArray[np.float32], target: Floats, seed: int) -> lgb.Booster | None:
    """Trees grown from rows; None from too few to split."""
    if target.size < 2 * _FEWEST_ROWS:
        return None
    leaf = max(_FEWEST_ROWS, min(40, target.size // 20))
    data = lgb.Dataset(features, target, params={"max_bin": _PARAMETERS["max_bin"], "verbosity": -1})
    return lgb.train(_PARAMETERS | {"seed": seed, "min_data_in_leaf": leaf}, data, num_boost_round=TREES)


def _said(booster: lgb.Booster | None, table: NDArray[np.float32], **options: bool) -> Floats:
    if booster is None:
        return np.zeros(table.shape[0])
    return np.asarray(booster.predict(table, num_threads=1, **options), dtype=np.float64)


def _drawn(days: Days, designs: list[Design], seed: int, size: int) -> _Rows:
    random = np.random.default_rng(seed)
    weight = np.concatenate([design.weight.ravel() for design in designs])
    cells = np.flatnonzero(weight)
    if cells.size > size:
        # the Gumbel trick: the largest log-weights plus noise are a weighted sample without replacement
        keys = np.log(weight[cells]) + random.gumbel(size=cells.size)
        cells = cells[np.argpartition(keys, -size)[-size:]]
    cells = random.permutation(cells)
    sizes = np.array([design.weight.size for design in designs])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    lead = np.searchsorted(starts, cells, side="right") - 1
    row, slot = np.divmod(cells - starts[lead], days.slots)
    return _Rows(lead, row, slot, _features(days, designs, lead, row, slot))


def _rows_ahead(days: Days, designs: list[Design]) -> _Rows:
    lead, slot = (part.ravel() for part in np.mgrid[: days.ahead, : days.slots])
    row = np.array([design.day.size - 1 for design in designs])[lead]
    return _Rows(lead, row, slot, _features(days, designs, lead, row, slot))


def _features(days: Days, designs: list[Design], lead: Ints, row: Ints, slot: Ints) -> NDArray[np.float32]:
    columns = max(design.features.shape[2] for design in designs)
    table = np.zeros((lead.size, columns + 5), dtype=np.float32)
    for j, design in enumerate(designs):
        here = np.flatnonzero(lead == j)
        table[here, : design.features.shape[2]] = design.features[slot[here], row[here]]
        day = design.day[row[here]]
        table[here, columns] = days.hour[slot[here]]
        table[here, columns + 1] = days.weekday[day, slot[here]]
        table[here, columns + 2] = days.holiday[day, slot[here]]
        table[here, columns + 3] = design.base[row[here], slot[here]]
        table[here, columns + 4] = j + 1
    return table


def _flat(designs: list[Design], sample: _Rows) -> Ints:
    """Index of each sampled cell's origin row in the rows of all designs laid end to end."""
    starts = np.concatenate(([0], np.cumsum([design.day.size for design in designs])[:-1]))
    return np.asarray(starts[sample.lead] + sample.row)


def _cells(designs: list[Design], sample: _Rows, name: str) -> Floats:
    table = np.concatenate([getattr(design, name) for design in designs])
    return np.asarray(table[_flat(designs, sample), sample.slot])


class GradientBoosting:
    """Direct multi-horizon LightGBM on the features of the linear forecaster, and the clock."""

    name = "lightgbm_v1"

    def forecast(self, problem: Problem, *, seed: int = 0, explained: bool = False) -> Outcome:
        days = cut_into_days(problem)
        if too_short_to_learn(days):
            return forecast_short(problem, days, explained=explained)
        designs, names = designs_of(days)
        points, warnings = leaning_on_recent_days(
            days, boosted_points(days, designs, seed, explained=explained)
        )
        return outcome(
            problem,
            days,
            points,
            algorithm="gradient boosted trees with the lead as a feature",
            features=(*names[1:], "hour_of_day", "day_of_week", "is_holiday", "lead"),
            samples=int(days.seen[WEEK:].sum()),
            warnings=warnings,
        )
