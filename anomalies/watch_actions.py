"""What one does with watches: set them up, look, and tell people once."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from anomalies.actions import detect
from anomalies.errors import NothingToWatch, TooFewReadings, TooManyWatches
from anomalies.events import Event, events, is_as_severe
from anomalies.models import Alert, AlertQuerySet, Detection, Sending, Severity, Watch
from anomalies.wording import MISSING
from features import history
from features.errors import AssetUnknown
from features.models import Asset, Reading
from omarino import audit, webhooks
from omarino.errors import NotFound
from omarino.sealing import SealBroken

MOST_WATCHES = 1_000  # of a tenant
USUAL_INTERVAL = timedelta(hours=1)
STEPS_APART = 3  # flagged points within so many intervals are one event
TRY_AGAIN = [timedelta(minutes=m) for m in (1, 5, 30, 120, 360)]  # after each failed attempt but the last
NO_READINGS = "no_readings"
STORING_TAKES = timedelta(
    minutes=10
)  # a reading stored by a transaction that ended after our last look bears its start
log = structlog.get_logger(__name__)


@transaction.atomic
def set_up_watch(*, tenant_id: str, asset_id: str, created_by: str, **fields: Any) -> Watch:
    """Watch an asset from now on: what was read before is not told. Raises AssetUnknown, TooManyWatches,
    NothingToWatch.
    """
    asset = Asset.objects.for_tenant(tenant_id).lock(asset_id).first()
    if asset is None:
        raise AssetUnknown(asset_id=asset_id)
    if Watch.objects.for_tenant(tenant_id).count() >= MOST_WATCHES:
        raise TooManyWatches(most=MOST_WATCHES)
    _check_webhook(fields)
    now = timezone.now()
    latest = history.latest_at(tenant_id=tenant_id, asset_id=asset_id, before=now)
    if latest is None and _sends_other_metrics_only(asset):
        raise NothingToWatch(asset_id=asset_id)
    watch = Watch(
        tenant_id=tenant_id,
        asset_id=asset_id,
        created_by=created_by,
        looked_at=now,
        judged_until=latest or now,
        **fields,
    )
    watch.save(force_insert=True)
    audit.record(tenant_id, "set up", "watch", watch.pk, after=watch)
    return watch


@transaction.atomic
def change_watch(*, tenant_id: str, watch_id: Any, **fields: Any) -> Watch:
    watch = _locked(tenant_id, watch_id)
    _check_webhook(fields)
    before = audit.digest(watch)
    for name, value in fields.items():
        setattr(watch, name, value)
    watch.next_look_at = timezone.now()
    watch.save(update_fields=[*fields, "next_look_at"])
    audit.record(tenant_id, "changed", "watch", watch.pk, before=before, after=watch)
    return watch


@transaction.atomic
def remove_watch(*, tenant_id: str, watch_id: Any) -> None:
    watch = _locked(tenant_id, watch_id)
    audit.record(tenant_id, "removed", "watch", watch.pk, before=audit.digest(watch))
    watch.delete()


def try_webhook(*, tenant_id: str, watch_id: Any) -> webhooks.Answer:
    """Send the receiver something that says it is a test, now."""
    watch = Watch.objects.for_tenant(tenant_id).filter(pk=watch_id).first()
    if watch is None:
        raise NotFound
    if not watch.webhook_url:
        raise webhooks.WebhookRefused(reason="the watch has none; set webhook_url first")
    content = {"type": "test", "watch_id": str(watch.pk), "asset_id": watch.asset_id}
    return _post(watch, f"test-{watch.pk}", content)


def look(*, watch_id: Any) -> list[Alert]:
    """Judge what came since the last look, if the watch is due; the alerts that are to be told, for they are new or
    became worse. Twice at once looks once.
    """
    watch = Watch.objects.claim(watch_id)
    if watch is None:
        return []
    began = timezone.now()
    try:
        detection = _detection_of_what_came(watch, began)
    except (TooFewReadings, AssetUnknown) as refusal:
        Watch.objects.filter(pk=watch.pk).update(last_error=str(refusal))
        return _tell(watch, [], None, began)
    return _tell(watch, _news(watch, detection), detection, began)


def send_alert(*, alert_id: Any) -> None:
    """One attempt to tell the receiver; again later when it does not take it."""
    alert = Alert.objects.claim(alert_id)
    if alert is None:
        return
    answer = _post(alert.watch, f"{alert.pk}-{alert.severity}", _content(alert))
    ours = Alert.objects.filter(pk=alert.pk, attempts=alert.attempts, severity=alert.severity)
    if answer.was_taken:
        _was_taken(alert, ours, answer)
    elif alert.attempts > len(TRY_AGAIN):
        ours.update(sending=Sending.FAILED, last_answer=answer.told[:200])
    else:
        again = timezone.now() + TRY_AGAIN[alert.attempts - 1]
        ours.update(next_attempt_at=again, last_answer=answer.told[:200])
    level = log.info if answer.was_taken else log.warning
    level(
        "alert_sent" if answer.was_taken else "alert_not_taken",
        tenant_id=alert.tenant_id,
        asset_id=alert.watch.asset_id,
        alert_id=str(alert.pk),
        attempt=alert.attempts,
        answer=answer.told,
    )


def _was_taken(alert: Alert, ours: AlertQuerySet, answer: webhooks.Answer) -> None:
    taken = {"delivered_at": Now(), "last_answer": answer.told, "told_severity": alert.severity}
    if (
        ours.update(sending=Sending.DELIVERED, **taken) == 0
    ):  # it became worse meanwhile, which is still to be told
        worse = Alert.objects.filter(pk=alert.pk).exclude(severity=alert.severity)
        worse.filter(told_severity=alert.told_severity).update(**taken)


def _post(watch: Watch, message_id: str, content: dict[str, Any]) -> webhooks.Answer:
    try:
        secret = watch.webhook_secret
    except SealBroken as fault:
        return webhooks.Answer(None, str(fault))
    sent_at = int(time.time())
    return webhooks.post(
        watch.webhook_url, secret=secret, message_id=message_id, sent_at=sent_at, content=content
    )


def _locked(tenant_id: str, watch_id: Any) -> Watch:
    watch = Watch.objects.for_tenant(tenant_id).select_for_update().filter(pk=watch_id).first()
    if watch is None:
        raise NotFound
    return watch


def _check_webhook(fields: dict[str, Any]) -> None:
    if fields.get("webhook_url"):
        webhooks.check_address(fields["webhook_url"])


def _sends_other_metrics_only(asset: Asset) -> bool:
    """Of such a device no reading would ever be judged, and its silence told though it speaks."""
    metrics = Reading.objects.for_tenant(asset.tenant_id).filter(asset_id=asset.asset_id)
    return not metrics.filter(metric="value").exists() and metrics.exists()


def _came_since(watch: Watch, began: datetime) -> set[datetime]:
    """Times of the readings that reached us since the last look, corrections among them."""
    came = Reading.objects.for_tenant(watch.tenant_id).filter(
        asset_id=watch.asset_id,
        metric="value",
        timestamp__gte=began - timedelta(hours=watch.lookback_hours),
        available_at__gt=max(watch.looked_at - STORING_TAKES, watch.created_at),
    )
    return set(came.values_list("timestamp", flat=True))


def _detection_of_what_came(watch: Watch, began: datetime) -> Detection | None:
    """None when nothing came."""
    if not _came_since(watch, began):
        return None
    detection, _ = detect(
        tenant_id=watch.tenant_id,
        asset_id=watch.asset_id,
        method=watch.method,
        sensitivity=watch.sensitivity,
        lookback_hours=watch.lookback_hours,
        as_of=began,
    )
    return detection


def _apart(watch: Watch) -> timedelta:
    asset = Asset.objects.for_tenant(watch.tenant_id).filter(asset_id=watch.asset_id).first()
    usual = timedelta(minutes=asset.interval_minutes) if asset and asset.interval_minutes else USUAL_INTERVAL
    return STEPS_APART * usual


def _news(watch: Watch, detection: Detection | None) -> list[Event]:
    """Events with a point that was not judged before: read later than that, or come late."""
    if detection is None:
        return []
    came = _came_since(watch, detection.made_at)
    found = events(detection.anomalies, apart=_apart(watch), least=watch.minimum_severity)
    return [event for event in found if event.last_at > watch.judged_until or event.at & came]


@transaction.atomic
def _tell(watch: Watch, found: list[Event], detection: Detection | None, began: datetime) -> list[Alert]:
    """Keep what is new, and how far was looked; an event that goes on is the alert that it was."""
    _locked(watch.tenant_id, watch.pk)
    apart = _apart(watch)
    to_tell = []
    for event in found:
        if (same := _already_told(watch, event, apart)) is None:
            to_tell.append(_raise(watch, detection, event))
        elif _go_on(same, event, detection):
            to_tell.append(same)
    if silence := _silence(watch, began):
        to_tell.append(silence)
    if detection is not None:
        Watch.objects.filter(pk=watch.pk).update(
            looked_at=began, judged_until=max(watch.judged_until, detection.last_at), last_error=""
        )
    return to_tell


def _already_told(watch: Watch, event: Event, apart: timedelta) -> Alert | None:
    """The alert that the event is or goes on from, the first when it joins several; of silence for a gap only.

    Locked, or what a message told meanwhile would be written over.
    """
    alerts = watch.alerts.select_for_update().filter(
        first_at__lte=event.last_at + apart, last_at__gte=event.first_at - apart
    )
    if event.peak["kind"] != MISSING:
        alerts = alerts.exclude(kind=NO_READINGS)
    return alerts.order_by("first_at").first()


def _go_on(alert: Alert, event: Event, detection: Detection | None) -> bool:
    """Let the alert last longer and be as bad as its worst; whether it is to be told once more.

    A silence has no peak, and stays what it was told as: the gap it leaves is found when it is over.
    """
    alert.first_at = min(alert.first_at, event.first_at)
    alert.last_at = max(alert.last_at, event.last_at)
    alert.points = max(alert.points, event.points)
    is_worse = False
    if alert.peak_score is not None and event.peak["anomaly_score"] > alert.peak_score:
        is_worse = not is_as_severe(alert.severity, event.severity)
        _take_peak(alert, event, detection)
    if is_worse:
        alert.sending = Sending.PENDING if alert.watch.webhook_url else Sending.NONE
        alert.attempts, alert.next_attempt_at = 0, timezone.now()
    alert.save()
    return is_worse


def _take_peak(alert: Alert, event: Event, detection: Detection | None) -> None:
    alert.detection = detection
    alert.kind, alert.severity = event.peak["kind"] or "unusual", event.severity
    alert.peak_at = datetime.fromisoformat(event.peak["timestamp"])
    alert.peak_value, alert.peak_score = event.peak["value"], event.peak["anomaly_score"]
    alert.explanation = event.peak["explanation"]


def _raise(watch: Watch, detection: Detection | None, event: Event) -> Alert:
    alert = Alert(first_at=event.first_at, last_at=event.last_at, points=event.points)
    _take_peak(alert, event, detection)
    return _kept(watch, alert)


def _silence(watch: Watch, began: datetime) -> Alert | None:
    """An alert when the asset stopped sending: nothing comes that could be judged."""
    latest = history.latest_at(tenant_id=watch.tenant_id, asset_id=watch.asset_id, before=began)
    latest = latest or watch.created_at
    hours = watch.silent_after_hours
    if not hours or began - latest < timedelta(hours=hours):
        return None
    if watch.alerts.filter(kind=NO_READINGS, first_at=latest).exists():
        return None
    alert = Alert(
        kind=NO_READINGS,
        severity=Severity.HIGH,
        first_at=latest,
        last_at=latest,
        points=0,
        peak_at=latest,
        explanation=f"No reading since {latest:%Y-%m-%d %H:%M} UTC, more than {hours} h ago.",
    )
    return _kept(watch, alert)


def _kept(watch: Watch, alert: Alert) -> Alert:
    alert.tenant_id, alert.watch = watch.tenant_id, watch
    alert.sending = Sending.PENDING if watch.webhook_url else Sending.NONE
    alert.save(force_insert=True)
    log.info(
        "alert_raised",
        tenant_id=watch.tenant_id,
        asset_id=watch.asset_id,
        alert_id=str(alert.pk),
        kind=alert.kind,
        severity=alert.severity,
    )
    return alert


def _content(alert: Alert) -> dict[str, Any]:
    return {
        "type": "anomaly",
        "alert_id": str(alert.pk),
        "watch_id": str(alert.watch_id),
        "detection_id": str(alert.detection_id) if alert.detection_id else None,
        "tenant_id": alert.tenant_id,
        "asset_id": alert.watch.asset_id,
        "kind": alert.kind,
        "severity": alert.severity,
        "worsened_from": alert.told_severity or None,
        "first_at": alert.first_at,
        "last_at": alert.last_at,
        "points": alert.points,
        "peak": {"timestamp": alert.peak_at, "value": alert.peak_value, "anomaly_score": alert.peak_score},
        "explanation": alert.explanation,
        "raised_at": alert.raised_at,
    }
