"""A flagged point in a sentence, in the words of the data."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

SPIKE, STUCK, MISSING = "spike", "stuck", "missing_block"
A_DAY = timedelta(hours=22)  # or so: a day of a change of the clock, and a reading that comes a little early
CLAUSES = {
    SPIKE: "a spike",
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
    step: timedelta = timedelta(hours=1),
    unit: str = "",
    lasted: timedelta = timedelta(0),
) -> str:
    """What was read, when by the site's clock, what was expected, and what it looks like.

    >>> usual = {"at": datetime(2026, 1, 5, 3), "expected": 31.2, "std": 1.6}
    >>> sentence(value=68.0, kind="unusual", **usual)
    '68.0 at 03:00; 31.2 ± 1.6 expected.'
    >>> sentence(value=2.0, kind="spike", step=timedelta(days=1), **usual)
    '2 on 5 January; 31.2 ± 1.6 expected: a dip.'
    """
    tail = f" {unit}" if unit else ""
    when = f"on {at:%-d %B}" if step >= A_DAY else f"at {at:%H:%M}"
    usual = "" if math.isnan(expected) else f"{number(expected)} ± {number(std)}{tail} expected"
    if kind == MISSING:
        return f"No reading {when}, in a gap of {length(lasted)}" + (f"; {usual}." if usual else ".")
    if kind == STUCK:
        return f"{number(value)}{tail} {when}, unchanged for {length(lasted)}" + (
            f"; {usual}." if usual else "."
        )
    if math.isnan(value):
        return f"No reading {when}."
    clause = "a dip" if kind == SPIKE and value < expected else CLAUSES.get(kind)
    return f"{number(value)}{tail} {when}; {usual}" + (f": {clause}." if clause else ".")


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


def length(lasted: timedelta) -> str:
    """In the unit that says it shortly.

    >>> [length(timedelta(minutes=m)) for m in (45, 60, 90, 14 * 60)]
    ['45 minutes', '1 hour', '1.5 hours', '14 hours']
    >>> [length(timedelta(days=d)) for d in (3, 3.5, 730, 1461)]
    ['72 hours', '3.5 days', '730 days', '4 years']
    """
    minutes = round(lasted.total_seconds() / 60)
    if minutes < 60:
        return f"{minutes} minutes"
    if minutes == 60:
        return "1 hour"
    if minutes <= 72 * 60:
        return f"{minutes / 60:.3g} hours"
    days = minutes / 1440
    return f"{days:.3g} days" if days < 999 else f"{days / 365.25:.3g} years"
