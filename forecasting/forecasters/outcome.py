"""From point predictions, of the future and of a past not seen, to a forecast with measured bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.base import QUANTILES, Accuracy, Outcome, Problem
from forecasting.forecasters.days import Days, at_targets
from forecasting.forecasters.parts import Parts, attribution_at_targets
from forecasting.horizon import target_times
from forecasting.intervals import conformal_quantile, error_scale, ordered
from forecasting.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    root_mean_squared_error,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STILL_DAYS = 13
STAYS = 0.9
ENOUGH_WINDOWS = 14
ENOUGH_ERRORS = 60  # below, the days of lead share their errors


@dataclass(frozen=True, slots=True)
class Points:
    """What a point forecaster says.

    ahead: shape (A, P), the days to come.
    held: shape (A, n, P): held[j - 1, i] is its prediction of day i + j as of the end of day i, made
        without having learned from the week of day i + j; NaN where it made none.
    before: the same without having learned from anything later than it either, where that was tried:
        bands and accuracy then rest on it.
    """

    ahead: Floats
    held: Floats
    before: Floats | None = None
    parts: Parts | None = None  # what adds up to `ahead`, where it was asked for

    @property
    def judged(self) -> Floats:
        return self.held if self.before is None else self.before


def held_errors(days: Days, held: Floats) -> Floats:
    """observed - held by *target* day, shape (A, n, P); NaN where not seen or not predicted."""
    errors = np.full(held.shape, np.nan)
    for j in range(1, held.shape[0] + 1):
        if j < days.count:
            seen = np.where(days.seen[j:], days.values[j:], np.nan)
            errors[j - 1, j:] = seen - held[j - 1, :-j]
    return errors


def outcome(
    problem: Problem,
    days: Days,
    points: Points,
    *,
    algorithm: str,
    features: tuple[str, ...],
    samples: int,
    warnings: tuple[str, ...] = (),
) -> Outcome:
    """Bands, coverage and accuracy for points, on the target times of the problem."""
    still = _still(days, points)
    points = _with_still(days, points, still)
    errors = _errors_asked(days, points.judged)
    scale, scaled = _scaled(errors, still)
    every = np.ones(days.count, dtype=np.bool_)
    middle = scaled if points.before is None else _divided(_errors_asked(days, points.held), scale)
    levels = _levels(scaled, middle, every)
    table = points.ahead[..., None] + levels[:, None, :] * scale[:, -1, :, None]
    inside, median_errors = _measured(days, points, errors, (scaled, middle, scale))
    accuracy = _accuracy(days, median_errors, inside)
    by_slot = _coverage_by_slot(inside)
    quantiles = at_targets(days, table)
    quantiles = ordered(quantiles, days.floor)
    attribution = None
    if points.parts is not None:
        corrected = points.parts.plus("recent_errors", levels[:, 1, None] * scale[:, -1])
        attribution = attribution_at_targets(days, corrected, quantiles[:, 1])
    return Outcome(
        times=target_times(problem.series, problem.steps),
        quantiles=quantiles * days.unit,
        coverage_by_step=at_targets(days, by_slot[..., None])[:, 0],
        accuracy=accuracy,
        algorithm=algorithm,
        features_used=features,
        training_samples=samples,
        warnings=(*days.warnings, *warnings, *_few_windows(accuracy)),
        attribution=attribution,
    )


def _errors_asked(days: Days, held: Floats) -> Floats:
    errors = held_errors(days, held)
    return np.where(_asked(days)[:, None, :], errors, np.nan)


def _few_windows(accuracy: Accuracy | None) -> tuple[str, ...]:
    held = accuracy.windows if accuracy is not None else 0
    if held >= ENOUGH_WINDOWS:
        return ()
    return (f"The band rests on {held} held-back days and may be too narrow or too wide.",)


def _asked(days: Days) -> Bools:
    """Which slots of the days ahead the horizon touches, shape (A, P)."""
    asked = np.zeros(days.ahead * days.slots, dtype=np.bool_)
    asked[: int(np.ceil(days.positions.max())) + 1] = True
    return asked.reshape(days.ahead, days.slots)


def _still(days: Days, points: Points) -> Bools:
    """Where, as of each day, a slot has not changed for two weeks and may be taken to stay so.

    Nights of PV and machines switched off: the band there is the value itself. Only when slots that
    long unchanged did stay unchanged nine times in ten in this history; else nowhere. Shape (n, P).
    """
    n = days.count
    same = np.zeros(days.values.shape)
    same[1:] = days.values[1:] == days.values[:-1]
    reach = min(STILL_DAYS, n - 1)
    total = np.concatenate((np.zeros((1, days.slots)), np.cumsum(same, axis=0)))
    still = np.zeros(days.values.shape, dtype=np.bool_)
    still[reach:] = total[reach + 1 :] - total[1 : n - reach + 1] == reach
    for lead in range(1, points.ahead.shape[0] + 1):
        if lead < n and still[:-lead].any():
            stayed = days.values[lead:] == days.values[:-lead]
            if stayed[still[:-lead]].mean() < STAYS:
                return np.zeros_like(still)
    return still


def _with_still(days: Days, points: Points, still: Bools) -> Points:
    if not still.any():
        return points
    return Points(
        ahead=np.where(still[-1], days.values[-1], points.ahead),
        held=np.where(still & np.isfinite(points.judged), days.values, points.judged),
        parts=points.parts and _still_parts(days, points.parts, still[-1]),
    )


def _still_parts(days: Days, parts: Parts, still: Bools) -> Parts:
    """Where a slot has not changed for two weeks, its value is all there is to say."""
    kept = np.broadcast_to(~still, parts.base.shape)
    last = np.broadcast_to(days.values[-1], parts.base.shape)
    amount = np.where(kept, 0.0, last - parts.base)
    return parts.where(kept).plus("unchanged_value", amount, np.where(kept, np.nan, last * days.unit))


def _scaled(errors: Floats, still: Bools) -> tuple[Floats, Floats]:
    """Scale as of each origin, shape (A, n, P), and errors by target day divided by their origin's."""
    scale = np.stack([error_scale(of_lead) for of_lead in errors])
    scale = np.where(still, 0.0, scale)
    return scale, _divided(errors, scale)


def _divided(errors: Floats, scale: Floats) -> Floats:
    scaled = np.full(errors.shape, np.nan)
    for j in range(1, errors.shape[0] + 1):
        if j < errors.shape[1]:
            of_origin = scale[j - 1, :-j]
            usable = of_origin > 0
            scaled[j - 1, j:] = np.where(usable, errors[j - 1, j:] / np.where(usable, of_origin, 1.0), np.nan)
    return scaled


def _levels(scaled: Floats, middle: Floats, use: Bools) -> Floats:
    """Conformal quantiles of the scaled errors of each day of lead, shape (A, 3); the median of `middle`."""
    levels = np.zeros((scaled.shape[0], len(QUANTILES)))
    for column, q in enumerate(QUANTILES):
        chosen = (middle if q == 0.5 else scaled)[:, use]
        everything = chosen[np.isfinite(chosen)]
        for j, of_lead in enumerate(chosen):
            own = of_lead[np.isfinite(of_lead)]
            sample = own if own.size >= ENOUGH_ERRORS else everything
            levels[j, column] = conformal_quantile(sample, q) if sample.size else 0.0
    return levels


def _measured(
    days: Days, points: Points, errors: Floats, measured: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats]:
    """Inside the band (1.0, 0.0, NaN) and error of the median, by target day, shape (A, n, P) each.

    The band of even weeks is made of the errors of odd weeks and the other way round, so no window is
    judged by a band that knew it.
    """
    scaled, middle, scale = measured
    parity = (np.arange(days.count) // 7) % 2
    inside = np.full(errors.shape, np.nan)
    median_errors = np.full(errors.shape, np.nan)
    for side in (0, 1):
        levels = _levels(scaled, middle, parity != side)
        for j in range(1, errors.shape[0] + 1):
            rows = np.flatnonzero((parity == side) & (np.arange(days.count) >= j))
            if rows.size == 0:
                continue
            held = points.judged[j - 1, rows - j]
            spread = scale[j - 1, rows - j]
            band = held[..., None] + levels[j - 1] * spread[..., None]
            band = np.maximum(np.sort(band, axis=-1), days.floor)
            observed = held + errors[j - 1, rows]
            known = np.isfinite(observed)
            tiny = 1e-9 * np.abs(observed)
            within = (observed >= band[..., 0] - tiny) & (observed <= band[..., 2] + tiny)
            inside[j - 1, rows] = np.where(known, within, np.nan)
            median_errors[j - 1, rows] = observed - band[..., 1]
    return inside, median_errors


def _coverage_by_slot(inside: Floats) -> Floats:
    """Share inside at each day of lead and slot, over it and its neighbours within 1.5 hours."""
    known = np.isfinite(inside)
    counts, hits = known.sum(axis=1).astype(np.float64), np.where(known, inside, 0.0).sum(axis=1)
    flat_counts, flat_hits = counts.ravel(), hits.ravel()
    reach = max(1, round(inside.shape[2] / 16))
    kernel = np.ones(2 * reach + 1)
    counts = np.convolve(flat_counts, kernel)[reach:-reach].reshape(counts.shape)
    hits = np.convolve(flat_hits, kernel)[reach:-reach].reshape(hits.shape)
    return np.where(counts >= 5, hits / np.maximum(counts, 1.0), np.nan)


def _accuracy(days: Days, median_errors: Floats, inside: Floats) -> Accuracy | None:
    known = np.isfinite(median_errors)
    if not known.any():
        return None
    observed = np.broadcast_to(days.values, median_errors.shape)[known]
    forecast = observed - median_errors[known]
    return Accuracy(
        mae=mean_absolute_error(observed, forecast) * days.unit,
        rmse=root_mean_squared_error(observed, forecast) * days.unit,
        mape=mean_absolute_percentage_error(observed, forecast),
        coverage=float(inside[known].mean()),
        windows=int(known.any(axis=(0, 2)).sum()),
    )
