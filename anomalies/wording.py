"""A flagged point in a sentence, in the words of the data."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

STUCK, MISSING = "stuck", "missing_block"
CLAUSES = {
    "spike": "a spike",
    "drop_to_zero": "it dropped to zero",
    "level_shift": "the level shifted",
    "scale_error": "it looks like a wrong unit or factor",
    "drift": "it is drifting away",
    "night_load": "something runs at night that usually does not",
}


def sentence(
    *,
    at: datetime,
    value: float,
    expected: float,
    std: float,
    kind: str,
    unit: str = "",
    lasted: timedelta = timedelta(0),
) -> str:
    """What was read, when by the site's clock, what was expected, and what it looks like.

    >>> sentence(at=datetime(2026, 1, 5, 3), value=68.0, expected=31.2, std=1.6, kind="unusual")
    '68.0 at 03:00; 31.2 ± 1.6 expected.'
    """
    tail = f" {unit}" if unit else ""
    clock = f"{at:%H:%M}"
    usual = "" if math.isnan(expected) else f"{number(expected)} ± {number(std)}{tail} expected"
    if kind == MISSING:
        return f"No reading at {clock}, in a gap of {hours(lasted)}" + (f"; {usual}." if usual else ".")
    if kind == STUCK:
        return f"{number(value)}{tail} at {clock}, unchanged for {hours(lasted)}" + (
            f"; {usual}." if usual else "."
        )
    if math.isnan(value):
        return f"No reading at {clock}."
    clause = CLAUSES.get(kind)
    return f"{number(value)}{tail} at {clock}; {usual}" + (f": {clause}." if clause else ".")


def number(value: float) -> str:
    """Three figures, or more where the whole part has more.

    >>> [number(value) for value in (68.0, 31.24, 1.6, 0.01234, 12345.6, 0.0)]
    ['68.0', '31.2', '1.6', '0.0123', '12346', '0']
    """
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}"


def hours(lasted: timedelta) -> str:
    """>>> hours(timedelta(minutes=90)), hours(timedelta(hours=14)), hours(timedelta(minutes=45))
    ('1.5 hours', '14 hours', '45 minutes')
    """
    minutes = round(lasted.total_seconds() / 60)
    if minutes < 60:
        return f"{minutes} minutes"
    return f"{minutes / 60:.3g} hours"
