"""Features and feature sets, declared once: what there is, in which unit, how far back each looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from features.errors import FeaturesNotChosen, UnknownFeature, UnknownFeatureSet

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)  # not a day of the calendar, which may have 23 or 25 hours
WEEK = timedelta(hours=168)
OF_SERIES = "of the readings"
COMPUTATION_VERSION = 1  # raise it when any feature comes to mean something else

CalendarField = Literal[
    "hour_of_day",
    "day_of_week",
    "day_of_month",
    "month",
    "quarter",
    "is_weekend",
    "is_business_hours",
]
Statistic = Literal["avg", "std", "min", "max", "range", "median", "p10", "p90"]


@dataclass(frozen=True, slots=True)
class Calendar:
    """What the clock on the asset's wall says at t."""

    field: CalendarField


@dataclass(frozen=True, slots=True)
class Lag:
    """The reading in whose interval t - by lies."""

    by: timedelta


@dataclass(frozen=True, slots=True)
class Window:
    """A statistic of the readings in [t - over, t)."""

    over: timedelta
    statistic: Statistic


@dataclass(frozen=True, slots=True)
class WeatherAt:
    """The weather at t: its last value, less than an hour old; forecast where t is ahead."""

    column: str


Source = Calendar | Lag | Window | WeatherAt


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    unit: str
    description: str
    source: Source

    @property
    def looks_back(self) -> timedelta:
        """How far before t a reading can lie and still count, the length of its own interval apart."""
        match self.source:
            case Lag(by):
                return by
            case Window(over, _):
                return over
            case _:
                return timedelta(0)

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers, as those of the calendar are (yes is 1)."""
        return isinstance(self.source, Calendar)


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features in a fixed order. `version` is raised when the list changes; a model names both."""

    name: str
    version: int
    features: tuple[Feature, ...]
    description: str
    use_cases: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


def _calendar(field: CalendarField, unit: str, description: str) -> Feature:
    return Feature(field, unit, f"{description}, in the asset's time zone", Calendar(field))


def _lag(hours: int) -> Feature:
    said = f"The reading {hours} hour{'s' if hours > 1 else ''} before"
    return Feature(f"lag_{hours}h", OF_SERIES, said, Lag(timedelta(hours=hours)))


_WORDS: dict[Statistic, str] = {
    "avg": "Mean",
    "std": "Sample standard deviation",
    "min": "Least",
    "max": "Greatest",
    "range": "Greatest less least",
    "median": "Median",
    "p10": "10th percentile",
    "p90": "90th percentile",
}


def _window(name: str, over: timedelta, statistic: Statistic) -> Feature:
    hours = over // HOUR
    said = f"{_WORDS[statistic]} of the readings of the {hours} hour{'s' if hours > 1 else ''} before"
    return Feature(name, OF_SERIES, said, Window(over, statistic))


def _weather(column: str, unit: str) -> Feature:
    words = column.replace("_", " ").capitalize()
    return Feature(column, unit, f"{words} at that time, measured or forecast", WeatherAt(column))


_HOURLY: tuple[Statistic, ...] = ("avg", "std", "min", "max", "median")
_DAILY: tuple[Statistic, ...] = ("avg", "std", "min", "max", "p10", "p90")
_WEEKLY: tuple[Statistic, ...] = ("avg", "std", "min", "max")
_ALL = (
    _calendar("hour_of_day", "h", "Hour, 0 to 23"),
    _calendar("day_of_week", "day", "Day of the week, Monday is 0"),
    _calendar("day_of_month", "day", "Day of the month, from 1"),
    _calendar("month", "month", "Month, from 1"),
    _calendar("quarter", "quarter", "Quarter, from 1"),
    _calendar("is_weekend", "yes is 1", "Saturday or Sunday"),
    _calendar("is_business_hours", "yes is 1", "Monday to Friday with an hour of 9 to 17"),
    *(_lag(hours) for hours in (1, 24, 168)),
    _window("rolling_avg_24h", DAY, "avg"),
    _window("rolling_std_24h", DAY, "std"),
    *(_window(f"rolling_{statistic}_168h", WEEK, statistic) for statistic in _WEEKLY),
    _window("historical_avg_24h", DAY, "avg"),
    _window("historical_std_24h", DAY, "std"),
    _window("max_24h", DAY, "max"),
    _window("min_24h", DAY, "min"),
    _window("range_24h", DAY, "range"),
    *(_window(f"hourly_{statistic}", HOUR, statistic) for statistic in _HOURLY),
    *(_window(f"daily_{statistic}", DAY, statistic) for statistic in _DAILY),
    _weather("temperature", "degC"),
    _weather("humidity", "%"),
    _weather("solar_irradiance", "W/m2"),
    _weather("wind_speed", "m/s"),
    _weather("wind_direction", "degrees"),
    _weather("cloud_cover", "%"),
    _weather("precipitation", "mm"),
    _weather("pressure", "hPa"),
)
FEATURES: dict[str, Feature] = {feature.name: feature for feature in _ALL}


def features_named(names: Iterable[str]) -> tuple[Feature, ...]:
    """Raises UnknownFeature with all that are unknown, and what there is.

    >>> [feature.looks_back for feature in features_named(["lag_1h", "month"])]
    [datetime.timedelta(seconds=3600), datetime.timedelta(0)]
    """
    asked = tuple(dict.fromkeys(names))
    unknown = [name for name in asked if name not in FEATURES]
    if unknown:
        raise UnknownFeature(unknown=", ".join(unknown), known=", ".join(FEATURES))
    return tuple(FEATURES[name] for name in asked)


_BASIC = ("hour_of_day", "day_of_week", "is_weekend", "lag_1h", "lag_24h", "rolling_avg_24h")
_ADVANCED = (
    *_BASIC,
    "day_of_month",
    "month",
    "is_business_hours",
    "lag_168h",
    "temperature",
    "humidity",
    "solar_irradiance",
    "rolling_std_24h",
)
_ANOMALY = (
    "hour_of_day",
    "day_of_week",
    "historical_avg_24h",
    "historical_std_24h",
    "max_24h",
    "min_24h",
    "range_24h",
)
FEATURE_SETS: dict[str, FeatureSet] = {
    declared.name: declared
    for declared in (
        FeatureSet(
            "forecast_basic",
            1,
            features_named(_BASIC),
            "The calendar, yesterday and the mean of a day: enough for a simple forecast",
            ("load forecasts", "a baseline to compare with"),
        ),
        FeatureSet(
            "forecast_advanced",
            1,
            features_named(_ADVANCED),
            "Those of forecast_basic, last week, how much the day varied, and the weather",
            ("load and generation forecasts", "training of registered models"),
        ),
        FeatureSet(
            "anomaly_detection",
            1,
            features_named(_ANOMALY),
            "How the last 24 hours were: level, spread and extremes",
            ("anomaly detection", "monitoring of meters"),
        ),
    )
}


def feature_set(name: str) -> FeatureSet:
    """Raises UnknownFeatureSet, with what there is."""
    if name not in FEATURE_SETS:
        raise UnknownFeatureSet(feature_set=name, known=", ".join(FEATURE_SETS))
    return FEATURE_SETS[name]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: a set under its name, or features by name (`feature_set` is then None)."""

    feature_set: str | None
    features: tuple[Feature, ...]

    @property
    def identity(self) -> str:
        """Changes with whatever changes the values: the names in order, and what they mean."""
        return f"{COMPUTATION_VERSION}:{','.join(feature.name for feature in self.features)}"


def choose(feature_set_name: str | None, feature_names: Sequence[str] | None) -> Choice:
    """Either the set or the features; raises FeaturesNotChosen for neither and for both."""
    if (feature_set_name is None) == (feature_names is None):
        raise FeaturesNotChosen(known=", ".join(FEATURE_SETS))
    if feature_set_name is not None:
        return Choice(feature_set_name, feature_set(feature_set_name).features)
    return Choice(None, features_named(feature_names or ()))
