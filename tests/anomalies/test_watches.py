"""/ai/anomaly/watches and /ai/anomaly/alerts: look at new readings, tell people once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from rest_framework.test import APIClient

from anomalies import watch_actions
from anomalies.events import events
from anomalies.models import Alert, Detection, Sending, Watch
from anomalies.tasks import look_at_what_is_due
from omarino import webhooks
from omarino.authentication import Principal
from omarino.permissions import AI_USER
from tests.anomalies.receiver import Receiver, receiving
from tests.anomalies.watching import NOW, look_now, read_until, send_all, set_up
from tests.conftest import ClientOf
from tests.factories import make_readings
from tests.workers import running_worker, wait_until


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOK_PRIVATE_NETWORKS = [ip_network("127.0.0.0/8")]
    with receiving() as receiver:
        yield receiver


def test_a_new_event_is_told_once_and_signed(alice: Principal, client: APIClient, receiver: Receiver) -> None:
    read_until(alice, NOW - timedelta(hours=6))
    watch = set_up(client, webhook_url=receiver.url)

    assert look_now(watch) == []
    read_until(alice, NOW - timedelta(hours=3), changed={5: 95.0, 4: 96.0})
    (alert,) = look_now(watch)
    send_all()
    read_until(alice, NOW - timedelta(hours=1), changed={5: 95.0, 4: 96.0, 3: 97.0})
    assert look_now(watch) == []
    send_all()

    ((headers, body),) = receiver.got
    key = base64.b64decode(watch["webhook_secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    told = json.loads(body)
    assert (told["alert_id"], told["asset_id"], told["points"]) == (str(alert.pk), "main-meter", 2)
    assert told["peak"]["value"] in (95.0, 96.0)
    assert told["first_at"] == f"{NOW - timedelta(hours=5):%Y-%m-%dT%H:%M:%SZ}"
    alert.refresh_from_db()
    assert alert.sending == Sending.DELIVERED
    assert alert.points > 2  # it went on
    assert alert.last_at >= NOW - timedelta(hours=3)


def test_what_was_there_before_the_watch_is_not_told(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=3), changed={30: 95.0})
    watch = set_up(client)

    assert look_now(watch) == []
    read_until(alice, NOW - timedelta(hours=1), changed={30: 95.0})
    assert look_now(watch) == []

    assert Detection.objects.get().anomalies_detected >= 1  # it was seen, and it is old


@pytest.mark.django_db(transaction=True)
def test_a_reading_that_came_late_or_was_corrected_is_judged(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=1))
    watch = set_up(client)

    make_readings(alice, [95.0], start=NOW - timedelta(hours=20))
    (alert,) = look_now(watch)

    assert alert.peak_at == NOW - timedelta(hours=20)


def test_nothing_new_is_not_looked_at_again(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=1))
    watch = set_up(client)

    look_now(watch)

    assert not Detection.objects.exists()


def row(hour: int, score: float, severity: str) -> dict[str, Any]:
    return {"timestamp": f"2025-01-01T{hour:02}:00:00Z", "anomaly_score": score, "severity": severity}


def test_points_one_after_another_are_one_event_and_small_ones_none() -> None:
    rows = [row(1, 3.6, "high"), row(2, 2.6, "medium"), row(5, 4.8, "critical"), row(9, 2.1, "low")]

    found = events(rows, apart=timedelta(hours=3), least="medium")

    assert [(event.first_at.hour, event.last_at.hour, event.severity) for event in found] == [
        (1, 5, "critical")
    ]
    assert found[0].peak["anomaly_score"] == 4.8


def test_silence_is_told_once(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    watch = set_up(client, silent_after_hours=24)
    quiet = set_up(client, silent_after_hours=0)

    (alert,) = look_now(watch)

    assert (alert.kind, alert.first_at) == ("no_readings", NOW - timedelta(hours=31))
    assert "No reading since" in alert.explanation
    assert look_now(watch) == []
    assert look_now(quiet) == []


def test_a_reading_stamped_ahead_does_not_hide_silence(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    make_readings(alice, [20.0], start=NOW + timedelta(days=365))
    watch = set_up(client)

    (alert,) = look_now(watch)

    assert (alert.kind, alert.first_at) == ("no_readings", NOW - timedelta(hours=31))
    assert datetime.fromisoformat(watch["judged_until"]) == NOW - timedelta(hours=31)


def test_what_is_wrong_right_after_a_silence_is_told_as_well(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    watch = set_up(client)
    (silence,) = look_now(watch)

    read_until(alice, NOW - timedelta(hours=1), changed={29: 95.0})
    (alert,) = look_now(watch)

    assert (silence.kind, alert.kind, alert.peak_value) == ("no_readings", "spike", 95.0)


def test_an_event_that_joins_two_told_ones_is_told_no_more(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=20))
    watch = set_up(client)
    spikes: dict[int, float] = {}
    raised = []
    for until, new in ((14, {16: 95.0}), (6, {8: 95.0}), (6, {14: 95.0, 12: 95.0, 10: 95.0})):
        spikes |= new
        read_until(alice, NOW - timedelta(hours=until), changed=spikes)
        raised.append(look_now(watch))

    assert [len(alerts) for alerts in raised] == [1, 1, 0]
    first = Alert.objects.get(pk=raised[0][0].pk)
    assert (first.first_at, first.last_at) == (NOW - timedelta(hours=16), NOW - timedelta(hours=8))


@pytest.mark.django_db(transaction=True)
def test_two_looks_at_once_tell_once(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=6))
    watch = set_up(client)
    read_until(alice, NOW - timedelta(hours=3), changed={5: 95.0})
    Watch.objects.update(next_look_at=datetime.now(UTC))
    found: list[Alert] = []

    def look() -> None:
        found.extend(watch_actions.look(watch_id=watch["watch_id"]))
        connection.close()

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == Alert.objects.count() == Detection.objects.count() == 1


def test_a_receiver_that_refuses_is_asked_again_and_then_given_up(
    alice: Principal, client: APIClient, receiver: Receiver
) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    look_now(set_up(client, webhook_url=receiver.url))
    receiver.status = 500

    waits = []
    for _ in range(8):
        asked = datetime.now(UTC)
        send_all()
        alert = Alert.objects.get()
        waits.append(round((alert.next_attempt_at - asked).total_seconds() / 60))
        Alert.objects.update(next_attempt_at=asked)

    assert waits[:5] == [1, 5, 30, 120, 360]
    assert (len(receiver.got), alert.attempts, alert.sending) == (6, 6, Sending.FAILED)
    assert alert.last_answer == "Answered 500."
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1  # receivers can tell a repetition


def test_a_redirect_is_not_followed(alice: Principal, client: APIClient, receiver: Receiver) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    watch = set_up(client, webhook_url=receiver.url)
    receiver.status = 302

    answer = client.post(f"/ai/anomaly/watches/{watch['watch_id']}/test").json()

    assert (answer["was_taken"], answer["status"], len(receiver.got)) == (False, 302, 1)
    assert json.loads(receiver.got[0][1])["type"] == "test"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://127.0.0.1/hook",
        "https://10.1.2.3/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://localhost/",
        "https://LOCALHOST.:8443/",
        "https://hub.localhost/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://user:secret@example.org/",
        "https://",
        "https://example.org:99999/",
        "https://two words.example/",
        "https://8.8.8.8 x/",
        "https://b\u00fccher.example/",
        "https://\u4f8b.example/",
        "ftp://example.org/",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_must_not_be_reached_is_refused(
    alice: Principal, client: APIClient, url: str
) -> None:
    make_readings(alice, [1.0, 2.0])
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "webhook_url": url}

    response = client.post("/ai/anomaly/watches", body)

    assert (response.status_code, response.json()["code"]) == (422, "webhook_refused")


@pytest.mark.parametrize("url", ["https://2130706433/", "https://localhost/"])
def test_a_change_to_an_address_that_must_not_be_reached_is_refused(
    alice: Principal, client: APIClient, url: str
) -> None:
    make_readings(alice, [1.0, 2.0])
    watch = set_up(client)

    response = client.patch(f"/ai/anomaly/watches/{watch['watch_id']}", {"webhook_url": url})

    assert (response.status_code, response.json()["code"]) == (422, "webhook_refused")
    assert "not on the public internet" in response.json()["detail"]


def test_a_name_that_is_found_to_stand_for_a_private_address_is_not_reached() -> None:
    with pytest.raises(webhooks.WebhookRefused, match="not on the public internet"):
        webhooks.looked_up(urlsplit("https://localhost:1/hook"))


def test_a_network_that_is_no_longer_allowed_is_not_reached(
    alice: Principal, client: APIClient, settings: Any
) -> None:
    make_readings(alice, [1.0, 2.0])
    settings.WEBHOOK_PRIVATE_NETWORKS = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
    watch = set_up(client, webhook_url="https://localhost:1/hook")
    settings.WEBHOOK_PRIVATE_NETWORKS = []

    answer = client.post(f"/ai/anomaly/watches/{watch['watch_id']}/test").json()

    assert answer["was_taken"] is False
    assert "not on the public internet" in answer["told"]


@pytest.mark.parametrize("field", ["asset_id", "sensitvity"])
def test_a_change_of_what_a_watch_does_not_have_is_refused_by_name(
    alice: Principal, client: APIClient, field: str
) -> None:
    make_readings(alice, [1.0, 2.0])
    watch = set_up(client)

    response = client.patch(f"/ai/anomaly/watches/{watch['watch_id']}", {field: "other-meter"})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    body = {"tenant_id": "alpha", "asset_id": "main-meter", "sensitvity": 2}
    assert client.post("/ai/anomaly/watches", body).status_code == 422


def test_silence_is_told_whatever_severity_the_watch_alerts_from(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=30))

    (alert,) = look_now(set_up(client, minimum_severity="critical"))

    assert (alert.kind, alert.severity) == ("no_readings", "high")


def test_the_secret_is_shown_once(alice: Principal, client: APIClient) -> None:
    make_readings(alice, [1.0, 2.0])
    watch = set_up(client)

    again = client.get(f"/ai/anomaly/watches/{watch['watch_id']}").json()

    assert watch["webhook_secret"].startswith("whsec_")
    assert "webhook_secret" not in again
    assert again == {name: value for name, value in watch.items() if name != "webhook_secret"}


def test_a_watch_is_paused_changed_and_removed(alice: Principal, client: APIClient) -> None:
    read_until(alice, NOW - timedelta(hours=30))
    watch = set_up(client)
    address = f"/ai/anomaly/watches/{watch['watch_id']}"

    changed = client.patch(address, {"is_active": False, "every_minutes": 15}).json()

    assert (changed["is_active"], changed["every_minutes"], changed["method"]) == (False, 15, "z_score")
    assert look_now(watch) == []
    client.patch(address, {"is_active": True})
    assert len(look_now(watch)) == 1
    assert client.get("/ai/anomaly/alerts").json()["total"] == 1
    assert client.delete(address).status_code == 204
    assert client.get("/ai/anomaly/watches").json()["total"] == 0


def test_reading_is_for_all_and_watching_for_analysts(
    alice: Principal, bob: Principal, client: APIClient, client_of: ClientOf
) -> None:
    make_readings(alice, [1.0, 2.0])
    watch = set_up(client)
    reader = client_of(bob, roles=frozenset({AI_USER}))

    assert reader.get("/ai/anomaly/watches").json()["total"] == 1
    assert reader.delete(f"/ai/anomaly/watches/{watch['watch_id']}").status_code == 403


def test_a_device_of_other_metrics_cannot_be_watched_and_is_shown_its_own_route(
    alice: Principal, client: APIClient
) -> None:
    make_readings(alice, [1.0, 2.0], metric="cpu_usage")

    response = client.post("/ai/anomaly/watches", {"tenant_id": "alpha", "asset_id": "main-meter"})

    assert (response.status_code, response.json()["code"]) == (422, "nothing_to_watch")
    assert "/ml/anomalies/detect/" in response.json()["detail"]


def test_an_asset_that_is_not_there_cannot_be_watched(client: APIClient) -> None:
    response = client.post("/ai/anomaly/watches", {"tenant_id": "alpha", "asset_id": "nowhere"})

    assert (response.status_code, response.json()["code"]) == (404, "asset_unknown")


@pytest.mark.django_db(transaction=True)
def test_a_worker_looks_and_tells(
    alice: Principal, client: APIClient, receiver: Receiver, tmp_path: Path
) -> None:
    read_until(alice, NOW - timedelta(hours=6))
    set_up(client, webhook_url=receiver.url)
    read_until(alice, NOW - timedelta(hours=3), changed={5: 95.0})

    with running_worker(tmp_path, {"WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8"}) as worker:
        look_at_what_is_due.delay()
        wait_until(lambda: receiver.got, log=worker.log)
        wait_until(lambda: Alert.objects.get().sending == Sending.DELIVERED, log=worker.log)

    assert json.loads(receiver.got[0][1])["peak"]["value"] == 95.0
