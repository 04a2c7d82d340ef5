"""What Celery runs of the anomalies."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from anomalies import device_upkeep, watch_actions
from anomalies.models import Alert, Watch

AT_ONCE = 1_000


@shared_task(name="anomalies.look")
def look(watch_id: str) -> None:
    for alert in watch_actions.look(watch_id=watch_id):
        send_alert.delay(str(alert.pk))


@shared_task(name="anomalies.send_alert")
def send_alert(alert_id: str) -> None:
    watch_actions.send_alert(alert_id=alert_id)


@shared_task(name="anomalies.look_at_what_is_due")
def look_at_what_is_due() -> None:
    """Wake a worker for every watch that is due and every alert not taken yet; each claims its row."""
    for watch_id in Watch.objects.due().order_by("next_look_at").values_list("pk", flat=True)[:AT_ONCE]:
        look.delay(str(watch_id))
    alerts = Alert.objects.to_send().order_by("next_attempt_at").values_list("pk", flat=True)
    for alert_id in alerts[:AT_ONCE]:
        send_alert.delay(str(alert_id))


@shared_task(name="anomalies.retrain_what_is_due")
def retrain_what_is_due() -> None:
    device_upkeep.retrain_what_is_due(timezone.now())


@shared_task(name="anomalies.expire_detectors")
def expire_detectors() -> None:
    device_upkeep.expire(timezone.now())
