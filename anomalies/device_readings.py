"""What a device sent, as the table that its detector learns from and judges."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from anomalies import multivariate
from anomalies.errors import DeviceUnknown, TooFewMetrics, TooFewSamples
from anomalies.multivariate import Table
from features import history
from features.models import Asset, Reading

MOST_COLUMNS = 64


def known_device(tenant_id: str, device: str) -> Asset:
    asset = Asset.objects.for_tenant(tenant_id).filter(asset_id=device).first()
    if asset is None:
        raise DeviceUnknown
    return asset


def table_of(
    tenant_id: str,
    device: str,
    hours: int,
    *,
    only: tuple[str, ...] | None = None,
    before: datetime | None = None,
) -> Table:
    """The newest `hours` that the device sent, or those up to `before`, every metric of it or those named. Raises
    DeviceUnknown.

    What bears a time ahead is not seen: one wrong clock would leave nothing else to see.
    """
    known_device(tenant_id, device)
    readings = Reading.objects.for_tenant(tenant_id).filter(
        asset_id=device, timestamp__lt=before or timezone.now()
    )
    newest = readings.order_by("-timestamp").values_list("timestamp", flat=True).first()
    if newest is None:
        return multivariate.aligned({})
    end = newest + timedelta(microseconds=1)
    start = end - timedelta(hours=hours)
    names = only or tuple(
        readings.filter(timestamp__gte=start, timestamp__lt=end)
        .order_by("metric")
        .values_list("metric", flat=True)
        .distinct()[:MOST_COLUMNS]
    )
    series = {
        name: history.window(tenant_id=tenant_id, asset_id=device, metric=name, start=start, before=end)
        for name in names
    }
    return multivariate.aligned({name: told for name, told in series.items() if told[0].size})


def check_trainable(table: Table, device: str) -> None:
    """Raises TooFewMetrics, TooFewSamples."""
    if len(table.metrics) < 2 and len(table.times_us):
        raise TooFewMetrics(device=device, have=len(table.metrics))
    if len(table.times_us) < settings.MIN_TRAINING_SAMPLES:
        raise TooFewSamples(need=settings.MIN_TRAINING_SAMPLES, have=len(table.times_us))


def has_sent_since(tenant_id: str, device: str, metrics: list[str], since: datetime, rows: int) -> bool:
    """Whether any of these metrics were sent at so many times after `since`."""
    sent = Reading.objects.for_tenant(tenant_id).filter(
        asset_id=device, metric__in=metrics, timestamp__gt=since, timestamp__lt=timezone.now()
    )
    return len(sent.order_by().values_list("timestamp", flat=True).distinct()[:rows]) >= rows
