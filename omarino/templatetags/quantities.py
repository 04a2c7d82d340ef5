"""Numbers and durations as people read them."""

from __future__ import annotations

import math
from datetime import datetime

from django import template

register = template.Library()


@register.filter
def quantity(value: float | None) -> str:
    """Four significant digits, thousands apart, no exponent.

    >>> quantity(31840.52), quantity(0.01234567), quantity(-4.2), quantity(0.0), quantity(None)
    ('31,841', '0.01235', '−4.2', '0', '–')
    """
    if value is None:
        return "–"
    if value == 0:
        return "0"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 9)}f}".replace("-", "−")
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def score(value: float) -> str:
    """A number of standard deviations; what rounds to nothing is 0.

    >>> score(9.0e-301), score(0.004), score(0.006), score(0.84), score(4.06), score(12.0)
    ('0', '0', '0.01', '0.84', '4.1', '12.0')
    """
    if value < 0.005:
        return "0"
    return f"{value:.2f}" if value < 1.0 else f"{value:.1f}"


@register.filter
def percent(share: float | None) -> str:
    r"""A share as a percentage.

    >>> percent(0.8), percent(0.0412), percent(None)
    ('80\xa0%', '4.1\xa0%', '–')
    """
    if share is None:
        return "–"
    digits = 0 if share >= 0.095 else 1
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


@register.filter
def age(moment: datetime | None, now: datetime) -> str:
    """How long ago, in its largest unit.

    >>> from datetime import UTC
    >>> age(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 3, 5, tzinfo=UTC))
    '2 days'
    """
    if moment is None:
        return "–"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("year", 31_556_952), ("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (seconds >= length and unit == "minute"):
            count = seconds // length
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return "a moment"
