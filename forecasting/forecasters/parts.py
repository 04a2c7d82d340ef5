"""What adds up to a forecast: the mean of the last four weeks, and what each feature adds or takes away.

Every forecaster keeps its own account, in the numbers it computes with; what limits the result afterwards is a
part of its own. So the parts add up by construction, and a test holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forecasting.forecasters.base import Attribution
from forecasting.forecasters.days import Days, at_targets

Floats = NDArray[np.float64]

USUAL_DAYS = 28


@dataclass(frozen=True, slots=True)
class Parts:
    """base, each of added and of values: shape (A, P), the days ahead by slot; in the unit of `Days`.

    values: of the feature itself, in the unit people know; a name without one has none.
    """

    base: Floats
    added: dict[str, Floats] = field(default_factory=dict)
    values: dict[str, Floats] = field(default_factory=dict)

    @property
    def total(self) -> Floats:
        return np.asarray(sum(self.added.values(), start=self.base))

    def plus(self, name: str, amount: Floats, value: Floats | None = None) -> Parts:
        """With one part more; what has the name already is added to."""
        before = self.added.get(name)
        added = {**self.added, name: np.asarray(amount if before is None else before + amount)}
        values = self.values if value is None else {**self.values, name: np.asarray(value)}
        return Parts(self.base, added, values)

    def reaching(self, name: str, points: Floats) -> Parts:
        """With what is left to `points` under a name; the same where nothing is."""
        left = points - self.total
        return self.plus(name, left) if (np.abs(left) > 1e-12).any() else self

    def mixed(self, other: Parts, share: float) -> Parts:
        """(1 - share) of these and share of the other's."""
        names = dict.fromkeys((*self.added, *other.added))
        nothing = np.zeros_like(self.base)
        return Parts(
            (1 - share) * self.base + share * other.base,
            {
                name: (1 - share) * self.added.get(name, nothing) + share * other.added.get(name, nothing)
                for name in names
            },
            {**other.values, **self.values},
        )

    def where(self, kept: NDArray[np.bool_]) -> Parts:
        """Nothing added where not kept; the base stays."""
        return Parts(
            self.base, {name: np.where(kept, part, 0.0) for name, part in self.added.items()}, self.values
        )


def usual_level(days: Days) -> float:
    """The mean of the last four weeks, the base of every explanation."""
    return float(days.values[-USUAL_DAYS:].mean())


def unit_of(name: str, days: Days) -> float:
    """What a feature's value is multiplied by for people: flags and weather are not in the unit of the series."""
    of_another_kind = name in ("is_holiday", "day_after_holiday") or name.startswith(days.covariate_names)
    return 1.0 if of_another_kind else days.unit


def same_weekdays_parts(days: Days, same_weekdays: Floats) -> Parts:
    """The mean of four same weekdays, shape (A, P), as what the hour adds to the usual level, then the weekday."""
    level = usual_level(days)
    by_hour = np.broadcast_to(days.values[-USUAL_DAYS:].mean(axis=0), same_weekdays.shape)
    coming = slice(days.count, days.count + same_weekdays.shape[0])
    return Parts(
        np.full(same_weekdays.shape, level),
        {"hour_of_day": by_hour - level, "day_of_week": same_weekdays - by_hour},
        {
            "hour_of_day": np.broadcast_to(days.hour, same_weekdays.shape),
            "day_of_week": days.weekday[coming].astype(np.float64),
        },
    )


def past_value_parts(days: Days, values: dict[str, Floats], shares: dict[str, float]) -> Parts:
    """Past values, shape (A, P) each, that a forecast is the weighted mean of."""
    first = next(iter(values.values()))
    level = usual_level(days)
    return Parts(
        np.full(first.shape, level),
        {name: shares[name] * (past - level) for name, past in values.items()},
        {name: past * days.unit for name, past in values.items()},
    )


def attribution_at_targets(days: Days, parts: Parts, medians: Floats) -> Attribution:
    """The parts at the target times, on lines between slots as the forecast is, up to the medians.

    medians: shape (steps,), in the unit of `Days`; what still differs from the sum is the part "limits".
    """
    names = [name for name, part in parts.added.items() if (part != 0.0).any()]
    table = np.stack([parts.base, *(parts.added[name] for name in names)], axis=-1)
    flat = at_targets(days, table)
    base, contributions = flat[:, 0], flat[:, 1:]
    left = medians - base - contributions.sum(axis=1)
    if (np.abs(left) > 1e-9 * np.maximum(np.abs(medians), 1.0)).any():
        names, contributions = [*names, "limits"], np.column_stack((contributions, left))
    at = np.clip(np.floor(days.positions + 1e-9).astype(np.int64), 0, parts.base.size - 1)
    nothing = np.full(parts.base.size, np.nan)
    values = [parts.values[name].ravel() if name in parts.values else nothing for name in names]
    steps = medians.size
    return Attribution(
        names=tuple(names),
        values=np.stack(values, axis=-1)[at] if values else np.empty((steps, 0)),
        base=base * days.unit,
        contributions=contributions * days.unit,
    )
