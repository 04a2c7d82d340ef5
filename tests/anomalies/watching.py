"""A meter that is watched: six usual weeks, what comes after them, and the looks at it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from rest_framework.test import APIClient

from anomalies import watch_actions
from anomalies.models import Alert, Watch
from omarino.authentication import Principal
from tests.factories import make_readings

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START = NOW - timedelta(days=42)
HOURS = 42 * 24


def usual() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Six weeks of hours: a daily shape between 10 and 30 kW, with a little noise."""
    hour = np.arange(HOURS + 24)
    noise = np.random.default_rng(7).normal(0, 0.3, hour.size)
    return 20 - 10 * np.cos(2 * np.pi * (hour % 24) / 24) + noise


def read_until(owner: Principal, until: datetime, *, changed: dict[int, float] | None = None) -> None:
    """Readings up to `until`; changed: other values by hours before now."""
    values = usual()
    for hours_ago, value in (changed or {}).items():
        values[HOURS - hours_ago] = value
    make_readings(owner, values[: (until - START) // timedelta(hours=1)], start=START)


def set_up(client: APIClient, **fields: Any) -> dict[str, Any]:
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "method": "z_score", **fields}
    response = client.post("/ai/anomaly/watches", body)
    assert response.status_code == 201, response.json()
    answer: dict[str, Any] = response.json()
    return answer


def look_now(watch: dict[str, Any]) -> list[Alert]:
    Watch.objects.filter(pk=watch["watch_id"]).update(next_look_at=datetime.now(UTC))
    return watch_actions.look(watch_id=watch["watch_id"])


def send_all() -> None:
    for alert in Alert.objects.to_send():
        watch_actions.send_alert(alert_id=alert.pk)
