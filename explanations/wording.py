"""Features, groups of them and whole explanations in the words of people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from explanations.attribution import Part

CALENDAR, RECENT, WEATHER, ADJUSTMENT, OTHER = "calendar", "recent_readings", "weather", "adjustment", "other"
GROUPS = {
    CALENDAR: "the calendar",
    RECENT: "recent readings",
    WEATHER: "the weather",
    ADJUSTMENT: "adjustments",
    OTHER: "other features",
}
WEATHER_WORDS = {
    "temperature": "temperature",
    "humidity": "humidity",
    "solar_irradiance": "sunshine",
    "wind_speed": "wind",
    "wind_direction": "wind direction",
    "cloud_cover": "cloud cover",
    "precipitation": "rain",
    "pressure": "air pressure",
}
STATISTICS = {
    "avg": "mean",
    "std": "spread",
    "min": "lowest",
    "max": "highest",
    "median": "median",
    "range": "range",
    "p10": "low end",
    "p90": "high end",
}
NAMED = {
    CALENDAR: {
        "hour_of_day": "the hour",
        "day_of_week": "the weekday",
        "day_of_month": "the day of the month",
        "day_of_year": "the time of year",
        "month": "the month",
        "quarter": "the quarter",
        "is_weekend": "the weekend",
        "is_business_hours": "business hours",
        "is_holiday": "the public holiday",
        "holiday_as_sunday": "the public holiday",
        "day_after_holiday": "the day after a holiday",
    },
    RECENT: {
        "last_value": "the last reading",
        "unchanged_value": "a value unchanged for two weeks",
        "trend": "the trend",
        "lag_1h": "the hour before",
        "lag_24h": "the same hour yesterday",
        "lag_168h": "the same hour a week ago",
        "lag_1d": "the same hour of the last day",
        "lag_7d": "the same hour a week ago",
        "lag_1d_vs_usual": "the same hour of the last day",
        "lag_2d_vs_usual": "the same hour two days ago",
        "lag_1d_mean_vs_usual": "the whole last day",
        "week_vs_usual": "this hour over the last week",
        "week_mean_vs_usual": "the last week as a whole",
        "rolling_avg_7d": "this hour over the last week",
        "rolling_avg_28d": "this hour over the last four weeks",
        "rolling_max_14d": "the highest of two weeks",
        "rolling_min_14d": "the lowest of two weeks",
        "share_of_max_lag_1d": "how near the last day came to its best",
        "last_hour_vs_usual": "the last hours",
        "last_3h_vs_usual": "the last hours",
        "last_8h_vs_usual": "the last hours",
        "last_hour_fading_2h": "the last hours",
        "last_hour_fading_6h": "the last hours",
        "last_3h_fading_6h": "the last hours",
        "share_of_max_last_3h_fading_3h": "the last hours",
        "share_of_max_last_3h_fading_10h": "the last hours",
        "mean_of_4_same_weekdays": "the level at this hour",
        "usual_spread": "the usual spread",
        "beyond_usual": "beyond the usual spread",
        **{
            f"{window}_{statistic}_{hours}h": f"the {word} of the last {span}"
            for window in ("rolling", "historical")
            for hours, span in ((24, "24 hours"), (168, "week"))
            for statistic, word in STATISTICS.items()
        },
        **{f"hourly_{statistic}": f"the {word} of the last hour" for statistic, word in STATISTICS.items()},
        **{
            f"daily_{statistic}": f"the {word} of the last 24 hours" for statistic, word in STATISTICS.items()
        },
        **{f"{name}_24h": f"the {STATISTICS[name]} of the last 24 hours" for name in ("max", "min", "range")},
    },
    ADJUSTMENT: {
        "recent_errors": "recent errors",
        "limits": "limits of what is possible",
        "lead": "how far ahead it is",
    },
}
PAST_PREFIXES = ("lag_", "rolling_", "historical_", "hourly_", "daily_", "max_", "min_", "range_", "last_")
RELATIVE_DAYS = {0: "Today", 1: "Tomorrow", -1: "Yesterday"}
NEAR = timedelta(days=7)


def group_of(name: str) -> str:
    """
    >>> [group_of(name) for name in ("hour_of_day", "lag_24h", "temperature_above_q50", "limits", "x17")]
    ['calendar', 'recent_readings', 'weather', 'adjustment', 'other']
    """
    for group, names in NAMED.items():
        if name in names:
            return group
    if name.startswith(tuple(WEATHER_WORDS)):
        return WEATHER
    return RECENT if name.startswith(PAST_PREFIXES) else OTHER


def label_of(name: str) -> str:
    """
    >>> label_of("hour_of_day"), label_of("temperature_lag_1d"), label_of("wind_speed"), label_of("kW_at_gate")
    ('the hour', "the last day's temperature", 'the wind', 'kW_at_gate')
    """
    for names in NAMED.values():
        if name in names:
            return names[name]
    for column, word in WEATHER_WORDS.items():
        if name.startswith(column):
            return f"the last day's {word}" if "_lag_1d" in name else f"the {word}"
    return name


def number(value: float) -> str:
    """Three figures, or more where the whole part has more.

    >>> [number(value) for value in (61.24, -0.01234, 12345.6, 0.0)]
    ['61.2', '−0.0123', '12346', '0']
    """
    if value == 0:
        return "0"
    decimals = min(12, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:.{decimals}f}".replace("-", "−")


def signed(value: float) -> str:
    return number(value) if value < 0 else f"+{number(value)}"


def moment(at: datetime, said_at: datetime) -> str:
    """A time as somebody at `said_at` says it; both on the same clock.

    >>> moment(datetime(2026, 1, 6, 18), datetime(2026, 1, 5, 9))
    'Tomorrow 18:00'
    >>> moment(datetime(2026, 1, 9, 18), datetime(2026, 1, 5, 9)), moment(datetime(2027, 1, 9), datetime(2026, 1, 5))
    ('Friday 18:00', '9 January 2027 00:00')
    """
    days = (at.date() - said_at.date()).days
    if days in RELATIVE_DAYS:
        return f"{RELATIVE_DAYS[days]} {at:%H:%M}"
    if timedelta(0) < at - said_at < NEAR:
        return f"{at:%A %H:%M}"
    return f"{at:%-d %B %Y %H:%M}"


def reasons(parts: Sequence[Part], total: float, most: int = 2) -> str:
    """What moved a prediction most that way, and what held it back; empty where nothing moved it.

    >>> reasons([Part("hour_of_day", 18.0, 6.1, 1), Part("lag_24h", 60.0, 2.9, 2), Part("x", None, -1.0, 3)], 8.0)
    'mostly because of the hour (+6.10) and the same hour yesterday (+2.90)'
    """
    by_label: dict[str, float] = {}
    for part in parts:
        label = label_of(part.name)
        by_label[label] = by_label.get(label, 0.0) + part.contribution
    ordered = sorted(by_label.items(), key=lambda item: -abs(item[1]))
    largest = abs(ordered[0][1]) if ordered else 0.0
    told = [(label, amount) for label, amount in ordered if abs(amount) >= max(0.05 * largest, 1e-12)]
    along = [f"{label} ({signed(amount)})" for label, amount in told if amount * total > 0][:most]
    against = [f"{label} ({signed(amount)})" for label, amount in told if amount * total < 0]
    said = f"mostly because of {' and '.join(along)}" if along else ""
    if against and abs(dict(told)[against[0].rpartition(" (")[0]]) > 0.5 * largest:
        said += f"{'; ' if said else ''}{against[0].replace(' (', ' works against it (', 1)}"
    return said


def sentence(opening: str, value: float, base: float, parts: Sequence[Part], *, unit: str, usual: str) -> str:
    """
    >>> parts = [Part("hour_of_day", 18.0, 6.9, 1), Part("lag_24h", 60.0, 2.9, 2)]
    >>> sentence("Tomorrow 18:00 is forecast at", 61.2, 51.4, parts, unit="kW", usual="usual")
    'Tomorrow 18:00 is forecast at 61.2 kW, 9.80 above usual: mostly because of the hour (+6.90) and the same hour yesterday (+2.90).'
    """
    tail = f" {unit}" if unit else ""
    off = value - base
    size = max(abs(value), abs(base), max((abs(part.contribution) for part in parts), default=0.0))
    if abs(off) <= 0.005 * size:
        return f"{opening} {number(value)}{tail}, as {usual}."
    why = reasons(parts, off)
    said = f"{opening} {number(value)}{tail}, {number(abs(off))} {'above' if off > 0 else 'below'} {usual}"
    return f"{said}: {why}." if why else f"{said}."
