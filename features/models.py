"""Assets and what was read from them. Readings come and go in bulk: see `ingest` and `history`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Self
from zoneinfo import available_timezones

import holidays
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from features.errors import AssetInvalid
from features.export_models import ExportQuerySet as ExportQuerySet
from features.export_models import FeatureExport as FeatureExport
from features.set_models import StoredFeatures as StoredFeatures
from features.set_models import TenantFeatureSet as TenantFeatureSet
from features.set_models import TenantSetQuerySet as TenantSetQuerySet
from features.set_models import validate_set_name as validate_set_name
from omarino.tenancy import TenantOwned, TenantQuerySet

LARGEST_VALUE = 1e15  # beyond it squares of sums lose their meaning in float64
WEATHER_COLUMNS = (
    "temperature",
    "humidity",
    "solar_irradiance",
    "wind_speed",
    "wind_direction",
    "cloud_cover",
    "precipitation",
    "pressure",
)

validate_asset_id = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z",
    "At most 128 letters, digits or . _ : -, beginning with a letter or digit.",
)
ADDS_UP = re.compile(
    r"([kMGT]?Wh|[kMGT]?varh|[kMGT]?VAh|[kMGT]?J|m3|m³|Nm3|l|therms?|BTU|kBTU)", re.IGNORECASE
)
METRIC_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z"


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1)
def holiday_calendars() -> dict[str, list[str]]:
    """Subdivisions by ISO 3166-1 alpha-2 country, as the package `holidays` knows them."""
    return dict(holidays.list_supported_countries(include_aliases=True))


def validate_timezone(name: str) -> None:
    if name not in time_zones():
        raise ValidationError("An IANA time zone such as Europe/Berlin.", code="unknown_time_zone")


def validate_country(code: str) -> None:
    if code not in holiday_calendars():
        raise ValidationError("An ISO 3166-1 alpha-2 country such as DE.", code="unknown_country")


class Kind(models.TextChoices):
    LOAD = "load"
    GENERATION = "generation"
    PRICE = "price"
    DEVICE = "device"
    OTHER = "other"


class AssetQuerySet(TenantQuerySet["Asset"]):
    def lock(self, asset_id: str) -> Self:
        """Whoever writes an asset's readings holds its row, so that two imports follow one another."""
        return self.filter(asset_id=asset_id).select_for_update()


ASSET_FIELDS = (  # what people say of an asset
    "name",
    "kind",
    "unit",
    "timezone",
    "country",
    "subdivision",
    "latitude",
    "longitude",
    "interval_minutes",
)


class Asset(TenantOwned):
    """Something that is read: a meter, a plant, a price zone. Made on first sight of a reading."""

    asset_id = models.CharField(max_length=128, validators=[validate_asset_id])
    name = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.OTHER)
    unit = models.CharField(max_length=32, blank=True)  # of the metric "value": kW, kWh, EUR/MWh
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    country = models.CharField(max_length=2, blank=True, validators=[validate_country])  # for holidays
    subdivision = models.CharField(max_length=32, blank=True)  # of the country, as `holidays` names it
    latitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-90), MaxValueValidator(90)]
    )
    longitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-180), MaxValueValidator(180)]
    )
    interval_minutes = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(44_640)]
    )  # usual distance of two readings; taken from the first import when nobody said
    first_seen_at = models.DateTimeField(auto_now_add=True)
    data_version = models.PositiveBigIntegerField(
        default=0, editable=False
    )  # rises with each change of its data

    objects = AssetQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "asset_id"], name="features_asset_once"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="features_asset_kind_known"),
            models.CheckConstraint(
                condition=Q(latitude__isnull=True) | Q(latitude__gte=-90, latitude__lte=90),
                name="features_asset_latitude_on_earth",
            ),
            models.CheckConstraint(
                condition=Q(longitude__isnull=True) | Q(longitude__gte=-180, longitude__lte=180),
                name="features_asset_longitude_on_earth",
            ),
            models.CheckConstraint(
                condition=Q(interval_minutes__isnull=True) | Q(interval_minutes__gte=1),
                name="features_asset_interval_positive",
            ),
            models.CheckConstraint(
                condition=Q(subdivision="") | ~Q(country=""), name="features_asset_subdivision_of_country"
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.asset_id

    def refuse_if_invalid(self) -> None:
        """Raise AssetInvalid, with every field that is wrong, rather than save nonsense."""
        try:
            self.full_clean(validate_unique=False, validate_constraints=False)
        except ValidationError as fault:
            wrong = (f"{name}: {' '.join(texts)}" for name, texts in fault.message_dict.items())
            raise AssetInvalid(reason=" ".join(wrong)) from fault

    @property
    def adds_up(self) -> bool:
        """Whether readings add up over time, as energy and volume do and power and price do not."""
        return bool(ADDS_UP.fullmatch(self.unit.strip()))

    def clean(self) -> None:
        if not self.subdivision:
            return
        known = holiday_calendars().get(self.country)
        if known is None:
            raise ValidationError({"subdivision": "Name the country as well."})
        if self.subdivision not in known:
            raise ValidationError({"subdivision": f"One of {', '.join(known)}." if known else "Leave empty."})


class ReadingQuerySet(TenantQuerySet["Reading"]):
    """Of one tenant, like every other."""


class Reading(TenantOwned):
    """One value of one metric of an asset. A hypertable where the server has TimescaleDB."""

    pk = models.CompositePrimaryKey("tenant_id", "asset_id", "metric", "timestamp")
    asset_id = models.CharField(max_length=128)
    metric = models.CharField(max_length=64, default="value", db_default="value")
    timestamp = models.DateTimeField()  # start of the interval the value stands for
    value = models.FloatField()  # in the unit of the asset
    quality = models.CharField(max_length=32, null=True)  # noqa: DJ001  NULL: the meter said nothing
    available_at = models.DateTimeField(db_default=Now())  # when this value, not its time, reached us

    objects = ReadingQuerySet.as_manager()

    class Meta:
        db_table = "timeseries_data"
        constraints = [  # NaN is above every number in PostgreSQL, so it is outside as well
            models.CheckConstraint(
                condition=Q(value__gte=-LARGEST_VALUE, value__lte=LARGEST_VALUE),
                name="features_reading_value_finite",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.metric} {self.timestamp:%Y-%m-%d %H:%M}"


class WeatherQuerySet(TenantQuerySet["Weather"]):
    """Of one tenant, like every other."""


class Weather(TenantOwned):
    """The weather at an asset: measured for the past, forecast for the time ahead."""

    pk = models.CompositePrimaryKey("tenant_id", "asset_id", "timestamp")
    asset_id = models.CharField(max_length=128)
    timestamp = models.DateTimeField()
    temperature = models.FloatField(null=True)  # degC
    humidity = models.FloatField(null=True)  # %
    solar_irradiance = models.FloatField(null=True)  # W/m2
    wind_speed = models.FloatField(null=True)  # m/s
    wind_direction = models.FloatField(null=True)  # degrees, from north clockwise
    cloud_cover = models.FloatField(null=True)  # %
    precipitation = models.FloatField(null=True)  # mm
    pressure = models.FloatField(null=True)  # hPa
    available_at = models.DateTimeField(db_default=Now())

    objects = WeatherQuerySet.as_manager()

    class Meta:
        db_table = "weather_features"

    def __str__(self) -> str:
        return f"{self.asset_id} weather {self.timestamp:%Y-%m-%d %H:%M}"


class ReadingRevision(TenantOwned):
    """What a reading was before it was corrected, so that what was known at a time can still be asked."""

    id = models.BigAutoField(primary_key=True)
    asset_id = models.CharField(max_length=128)
    metric = models.CharField(max_length=64)
    timestamp = models.DateTimeField()
    value = models.FloatField()
    quality = models.CharField(max_length=32, null=True)  # noqa: DJ001  as in Reading
    available_at = models.DateTimeField()
    superseded_at = models.DateTimeField(db_default=Now())  # when the correction reached us

    objects = ReadingQuerySet.as_manager()

    class Meta:
        db_table = "timeseries_revisions"
        indexes = [
            models.Index(fields=["tenant_id", "asset_id", "metric", "timestamp"], name="features_revisions")
        ]


class WeatherRevision(TenantOwned):
    """What was known of the weather before something newer was: of a forecast, what it said when."""

    id = models.BigAutoField(primary_key=True)
    asset_id = models.CharField(max_length=128)
    timestamp = models.DateTimeField()
    temperature = models.FloatField(null=True)
    humidity = models.FloatField(null=True)
    solar_irradiance = models.FloatField(null=True)
    wind_speed = models.FloatField(null=True)
    wind_direction = models.FloatField(null=True)
    cloud_cover = models.FloatField(null=True)
    precipitation = models.FloatField(null=True)
    pressure = models.FloatField(null=True)
    available_at = models.DateTimeField()
    superseded_at = models.DateTimeField(db_default=Now())

    objects = WeatherQuerySet.as_manager()

    class Meta:
        db_table = "weather_revisions"
        indexes = [
            models.Index(fields=["tenant_id", "asset_id", "timestamp"], name="features_weather_revisions")
        ]


class RetentionCut(models.Model):
    """Before which time a table's rows were deleted, so that no aggregate is made of what is left of an hour."""

    table_name = models.CharField(max_length=64, primary_key=True)
    before = models.DateTimeField()

    class Meta:
        db_table = "retention_cuts"

    def __str__(self) -> str:
        return f"{self.table_name} before {self.before:%Y-%m-%d}"
