"""Histories too short to learn from: what was there yesterday, or last, and how wrong that was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.base import QUANTILES, Accuracy, Outcome, Problem
from forecasting.forecasters.days import WEEK, Days, at_targets
from forecasting.forecasters.outcome import Points, held_errors
from forecasting.forecasters.parts import USUAL_DAYS, Parts, attribution_at_targets, past_value_parts
from forecasting.horizon import target_times
from forecasting.intervals import conformal_quantile, ordered
from forecasting.metrics import mean_absolute_percentage_error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_DAYS_TO_LEARN = 14
DAYS_TO_TRUST = 28
_ORIGINS = 96
_SHARPNESS = 4  # the power of the mean errors in the weights: nearly a choice, where one is clearly better
_FEW_ERRORS = 20


def too_short_to_learn(days: Days, least: int = MIN_DAYS_TO_LEARN) -> bool:
    """Whether the longest lead has fewer days to learn from than `least` days leave the first lead."""
    lag = WEEK * -(-days.ahead // WEEK)
    return days.count < least + (lag - WEEK) + min(days.ahead, WEEK) - 1


def leaning_on_recent_days(days: Days, points: Points) -> tuple[Points, tuple[str, ...]]:
    """Blend learned points towards yesterday and last week while the history is under three weeks."""
    trust = (days.count - WEEK) / (DAYS_TO_TRUST - WEEK)
    if trust >= 1.0:
        return points, ()
    trust = max(trust, 0.0)
    recent = _recent_points(days, explained=points.parts is not None)
    blended = Points(
        ahead=trust * points.ahead + (1.0 - trust) * recent.ahead,
        held=trust * points.held + (1.0 - trust) * recent.held,
        before=None if points.before is None else trust * points.before + (1.0 - trust) * recent.held,
        parts=points.parts and recent.parts and recent.parts.mixed(points.parts, trust),
    )
    note = f"Only {days.count} days of history: the forecast leans on the last days until there are {DAYS_TO_TRUST}."
    return blended, (note,)


def last_week_points(days: Days, *, explained: bool = False) -> Points:
    """The value of the last same weekday; needs more days than the lag, a week for the first seven days."""
    n, ahead = days.count, days.ahead
    held = np.full((ahead, n, days.slots), np.nan)
    coming = np.empty((ahead, days.slots))
    for lead in range(1, ahead + 1):
        lag = WEEK * -(-lead // WEEK)
        coming[lead - 1] = days.values[n - 1 + lead - lag]
        origins = np.arange(max(0, lag - lead), n - 1)
        held[lead - 1, origins] = days.values[origins + lead - lag]
    parts = past_value_parts(days, {"lag_7d": coming}, {"lag_7d": 1.0}) if explained else None
    return Points(coming, held, parts=parts)


def _recent_points(days: Days, *, explained: bool = False) -> Points:
    """Yesterday and last week, weighed by their errors; yesterday where no week was."""
    week = last_week_points(days)
    yesterday = np.broadcast_to(days.values, week.held.shape)
    known = np.isfinite(week.held)
    errors = [np.abs(held_errors(days, np.where(known, held, np.nan))) for held in (yesterday, week.held)]
    of_yesterday, of_week = (
        float(np.nanmean(error)) ** _SHARPNESS if np.isfinite(error).any() else 0.0 for error in errors
    )
    share = (of_yesterday + 1e-12) / (of_yesterday + of_week + 2e-12)
    parts = None
    if explained:
        past = {"lag_7d": week.ahead, "lag_1d": np.broadcast_to(days.values[-1], week.ahead.shape)}
        parts = past_value_parts(days, past, {"lag_7d": share, "lag_1d": 1.0 - share})
    return Points(
        ahead=share * week.ahead + (1.0 - share) * days.values[-1],
        held=np.where(known, share * week.held + (1.0 - share) * yesterday, yesterday),
        parts=parts,
    )


def forecast_short(problem: Problem, days: Days, *, explained: bool = False) -> Outcome:
    """Repeat yesterday (blended with last week once there is one, by their errors), else the last level.

    Errors are taken at many origins of the history; nothing is fitted but the blend, so they are honest.
    """
    wall, per_day = days.wall, days.slots
    horizon = days.ahead * per_day
    origins = _origins(wall.size, per_day)
    guesses = _guesses(wall, per_day, horizon, np.append(origins, wall.size - 1))
    errors = _errors(days, guesses[:, :-1], origins, horizon)
    with_errors = np.isfinite(errors).any(axis=0)
    size = np.array([np.nanmean(np.abs(e)) if np.isfinite(e).any() else np.nan for e in errors])
    size = np.where(
        np.isfinite(size), size, size[0] if np.isfinite(size[0]) else 0.0
    )  # untried: as yesterday
    share = 1.0 / (size**_SHARPNESS + 1e-12 + 1e-3 * float(size.max()) ** _SHARPNESS)
    share /= share.sum()
    tried = np.isfinite(errors[-1]).any()
    blended = (share[:, None, None] * errors).sum(axis=0) if tried else errors[0]
    point = (share[:, None] * guesses[:, -1]).sum(axis=0)
    margins = _margins(blended, days, horizon)
    quantiles = point[:, None] + margins
    still = _still(days, wall)
    if still is not None:
        tiled = np.tile(still, days.ahead)
        quantiles = np.where(np.isfinite(tiled)[:, None], tiled[:, None], quantiles)
    table = ordered(quantiles, days.floor).reshape(days.ahead, per_day, len(QUANTILES))
    accuracy, by_lead = _measured(blended, days, horizon, origins)
    names = ("last_value",) if wall.size < per_day else ("lag_1d", "lag_7d")[: guesses.shape[0]]
    at_steps = at_targets(days, table)
    attribution = None
    if explained:
        parts = _short_parts(days, dict(zip(names, guesses[:, -1], strict=True)), share)
        parts = parts.plus("recent_errors", margins[:, 1].reshape(parts.base.shape))
        attribution = attribution_at_targets(days, parts, at_steps[:, 1])
    return Outcome(
        times=target_times(problem.series, problem.steps),
        quantiles=at_steps * days.unit,
        coverage_by_step=at_targets(days, by_lead.reshape(days.ahead, per_day, 1))[:, 0],
        accuracy=accuracy if with_errors.any() else None,
        algorithm="the last level" if names[0] == "last_value" else "the same hour of the last days",
        features_used=names,
        training_samples=int(days.wall_seen.sum()),
        warnings=(*days.warnings, *_notes(days)),
        attribution=attribution,
    )


def _short_parts(days: Days, guesses: dict[str, Floats], share: Floats) -> Parts:
    """Past values by their weights, against the mean of all that is known."""
    shape = (days.ahead, days.slots)
    level = float(days.wall[-USUAL_DAYS * days.slots :].mean())
    parts = Parts(np.full(shape, level))
    for weight, (name, guess) in zip(share.tolist(), guesses.items(), strict=True):
        table = guess.reshape(shape)
        parts = parts.plus(name, weight * (table - level), table * days.unit)
    return parts


def _notes(days: Days) -> list[str]:
    hours = days.wall.size * days.slot_minutes / 60
    span = f"{hours:g} hours" if hours < 72 else f"{hours / 24:.3g} days"
    notes = [f"Only {span} of history: too short to learn from, so the last days are repeated."]
    if days.wall.size < 2 * days.slots:
        notes.append("The band rests on few errors and may be too narrow or too wide.")
    return notes


def _origins(size: int, per_day: int) -> Ints:
    first = per_day - 1 if size > per_day else 0
    return (
        np.unique(np.linspace(first, size - 2, _ORIGINS).astype(np.int64))
        if size > 1
        else np.array([], dtype=np.int64)
    )


def _guesses(wall: Floats, per_day: int, horizon: int, origins: Ints) -> Floats:
    """Shape (guesses, origins, horizon)."""
    lead = np.arange(1, horizon + 1)
    if wall.size < per_day:
        return wall[origins][None, :, None] + np.zeros(horizon)
    sources = [origins[:, None] + lead - per_day * -(-lead // per_day)]
    week = WEEK * per_day
    if wall.size >= week:
        back = origins[:, None] + lead - week * -(-lead // week)
        sources.append(np.where(back >= 0, back, sources[0]))
    return np.asarray(wall[np.maximum(np.stack(sources), 0)])


def _errors(days: Days, guesses: Floats, origins: Ints, horizon: int) -> Floats:
    target = origins[:, None] + np.arange(1, horizon + 1)
    inside = target < days.wall.size
    target = np.minimum(target, days.wall.size - 1)
    observed = np.where(inside & days.wall_seen[target], days.wall[target], np.nan)
    return np.asarray(observed - guesses)


def _margins(errors: Floats, days: Days, horizon: int) -> Floats:
    """p10, p50 and p90 of the error at each lead, shape (horizon, 3): pooled over each day of lead.

    A lead day with hardly an error behind it takes the margins of the day before, a little wider: errors of
    a series with a daily rhythm grow slower than those of a random walk.
    """
    margins = np.zeros((horizon, len(QUANTILES)))
    widest = np.zeros(len(QUANTILES))
    origin_day = 0
    for day in range(days.ahead):
        part = slice(day * days.slots, (day + 1) * days.slots)
        sample = errors[:, part]
        sample = sample[np.isfinite(sample)]
        if sample.size >= _FEW_ERRORS:
            widest, origin_day = np.array([conformal_quantile(sample, q) for q in QUANTILES]), day
            margins[part] = widest
            continue
        if day == 0 and sample.size:
            reach = float(np.abs(sample).max())
            widest = np.array([-reach, 0.0, reach])
        margins[part] = widest * ((day + 1) / (origin_day + 1)) ** 0.25
    return margins


def _still(days: Days, wall: Floats) -> Floats | None:
    """The value of slots that never changed over at least two days (nights of PV), NaN elsewhere."""
    whole = wall.size // days.slots
    if whole < 2:
        return None
    table = wall[wall.size - whole * days.slots :].reshape(whole, days.slots)
    return np.where(np.ptp(table, axis=0) == 0, table[-1], np.nan)


def _measured(errors: Floats, days: Days, horizon: int, origins: Ints) -> tuple[Accuracy | None, Floats]:
    """Accuracy, and coverage by lead: each half of the origins judged by the band of the other half."""
    unknown = np.full(horizon, np.nan)
    usable = np.isfinite(errors).any(axis=1)
    if usable.sum() < 4:
        return None, unknown
    half = origins.size // 2
    inside = np.full(errors.shape, np.nan)
    centred = np.full(errors.shape, np.nan)
    for judged, known in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        margins = _margins(errors[known], days, horizon)
        found = errors[judged]
        hit = (found >= margins[:, 0] - 1e-12) & (found <= margins[:, 2] + 1e-12)
        inside[judged] = np.where(np.isfinite(found), hit, np.nan)
        centred[judged] = found - margins[:, 1]
    known = np.isfinite(centred)
    target = np.minimum(origins[:, None] + np.arange(1, horizon + 1), days.wall.size - 1)
    observed = days.wall[target][known]
    share = np.full(horizon, np.nan)
    for day in range(days.ahead):
        part = slice(day * days.slots, (day + 1) * days.slots)
        sample = inside[:, part][np.isfinite(inside[:, part])]
        if sample.size:
            share[part] = sample.mean()
    return Accuracy(
        mae=float(np.abs(centred[known]).mean()) * days.unit,
        rmse=float(np.sqrt((centred[known] ** 2).mean())) * days.unit,
        mape=mean_absolute_percentage_error(observed, observed - centred[known]),
        coverage=float(inside[known].mean()),
        windows=int(usable.sum()),
    ), share
