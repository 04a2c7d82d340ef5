"""An alert whose event goes on and becomes worse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from anomalies.models import Alert, Sending
from omarino.authentication import Principal
from tests.anomalies.receiver import Receiver, receiving
from tests.anomalies.watching import HOURS, NOW, look_now, read_until, send_all, set_up, usual
from tests.conftest import ClientOf
from tests.factories import make_readings


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOK_PRIVATE_NETWORKS = [ip_network("127.0.0.0/8")]
    with receiving() as receiver:
        yield receiver


def mildly() -> dict[int, float]:
    """A reading that is off a little, four hours before now."""
    return {4: float(usual()[HOURS - 4]) + 1.2}


def watched_mildly(owner: Principal, client: APIClient, **fields: Any) -> tuple[dict[str, Any], Alert]:
    """A watch with one alert below critical, four hours ago."""
    read_until(owner, NOW - timedelta(hours=5))
    watch = set_up(client, **fields)
    read_until(owner, NOW - timedelta(hours=3), changed=mildly())
    (alert,) = look_now(watch)
    assert alert.severity in ("medium", "high")
    return watch, alert


def grow_wild(owner: Principal, watch: dict[str, Any]) -> list[Alert]:
    read_until(owner, NOW - timedelta(hours=1), changed={**mildly(), 3: 95.0, 2: 96.0})
    return look_now(watch)


def test_an_alert_that_becomes_worse_says_so_and_is_told_once_more(
    alice: Principal, client: APIClient, receiver: Receiver
) -> None:
    watch, mild = watched_mildly(alice, client, webhook_url=receiver.url)
    send_all()

    assert [alert.pk for alert in grow_wild(alice, watch)] == [mild.pk]
    send_all()
    read_until(alice, NOW, changed={**mildly(), 3: 95.0, 2: 96.0, 1: 97.0})
    assert look_now(watch) == []  # worse, and of the class that was told
    send_all()

    (alert,) = client.get("/ai/anomaly/alerts?severity=critical").json()["alerts"]
    assert (alert["alert_id"], alert["told_severity"], alert["sending"]) == (
        str(mild.pk),
        "critical",
        "delivered",
    )
    assert alert["peak_value"] >= 95.0
    assert alert["explanation"].startswith(f"{alert['peak_value']} at ")
    first, second = (json.loads(body) for _, body in receiver.got)
    assert (first["severity"], first["worsened_from"]) == (mild.severity, None)
    assert (second["severity"], second["worsened_from"]) == ("critical", mild.severity)
    assert first["alert_id"] == second["alert_id"] == str(mild.pk)
    assert second["peak"]["value"] in (95.0, 96.0)
    assert (
        len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
    )  # or a receiver would drop the second


def test_an_alert_that_becomes_worse_before_it_was_told_is_told_once(
    alice: Principal, client: APIClient, receiver: Receiver
) -> None:
    watch, _ = watched_mildly(alice, client, webhook_url=receiver.url)

    grow_wild(alice, watch)
    send_all()

    ((_, body),) = receiver.got
    assert (json.loads(body)["severity"], json.loads(body)["worsened_from"]) == ("critical", None)


@pytest.mark.django_db(transaction=True)
def test_an_alert_that_becomes_worse_while_it_is_sent_is_sent_again(
    alice: Principal, client: APIClient, receiver: Receiver
) -> None:
    watch, mild = watched_mildly(alice, client, webhook_url=receiver.url)

    def worsen() -> None:
        grow_wild(alice, watch)
        connection.close()

    receiver.meanwhile = worsen
    send_all()
    receiver.meanwhile = None
    send_all()

    told = [json.loads(body) for _, body in receiver.got]
    assert [(each["severity"], each["worsened_from"]) for each in told] == [
        (mild.severity, None),
        ("critical", mild.severity),
    ]


def test_an_alert_that_was_given_up_is_sent_again_when_it_becomes_worse(
    alice: Principal, client: APIClient, receiver: Receiver
) -> None:
    watch, _ = watched_mildly(alice, client, webhook_url=receiver.url)
    Alert.objects.update(sending=Sending.FAILED, attempts=6)

    grow_wild(alice, watch)
    send_all()

    assert Alert.objects.get().sending == Sending.DELIVERED
    assert json.loads(receiver.got[0][1])["worsened_from"] is None  # nobody took the first


def test_a_watch_without_a_webhook_raises_the_severity_and_tells_nobody(
    alice: Principal, client: APIClient
) -> None:
    watch, _ = watched_mildly(alice, client)

    grow_wild(alice, watch)

    alert = Alert.objects.get()
    assert (alert.severity, alert.sending, alert.told_severity) == ("critical", Sending.NONE, "")


def test_a_silence_that_ended_is_told_no_more_though_its_gap_is_worse(
    alice: Principal, client: APIClient, receiver: Receiver
) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    watch = set_up(client, webhook_url=receiver.url)
    look_now(watch)
    send_all()

    make_readings(alice, [float(usual()[HOURS - 1])] * 2, start=NOW - timedelta(hours=2))
    look_now(watch)
    send_all()

    assert Alert.objects.get(kind="no_readings").severity == "high"
    assert [json.loads(body)["kind"] for _, body in receiver.got].count("no_readings") == 1
