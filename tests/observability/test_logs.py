"""The log files of a real service at LOG_LEVEL=DEBUG: one JSON line an event, in the shape of the contract, no secret."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from omarino import logs
from tests.observability.conftest import METRICS_TOKEN, Hub, eventually, token_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
PASSWORD = "correct-horse-battery-staple"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')
SAID_BY_CELERY_ITSELF = re.compile(r"worker: |^$")  # on the terminal's account, when it is asked to stop
WARNING_TO_ROOT = "SecurityWarning: You're running the worker with superuser privileges"

SHAPE = (
    *("timestamp", "level", "event", "tenant_id", "asset_id", "model_name", "horizon_hours"),
    *("latency_ms", "request_id", "trace_id"),
)
ASSET = "home-electricity-illinois"
FORECAST = {"tenant_id": "demo", "asset_id": ASSET, "forecast_type": "load"}
DAY = [{"timestamp": f"2030-01-01T{hour:02}:00:00Z", "value": hour} for hour in range(24)]


def test_an_event_is_one_line_in_the_shape_of_the_contract(hub: Hub) -> None:
    headers = {"X-Request-ID": "one-line-please", "traceparent": TRACEPARENT}

    answer = hub.ask("POST", "/ai/forecast", json={**FORECAST, "horizon_hours": 12}, headers=headers)

    lines = [line for line in hub.logged("web") if line.get("request_id") == "one-line-please"]
    (line,) = [line for line in lines if line["event"] == "forecast_generated"]
    assert answer.status_code == 200
    assert list(line)[:10] == list(SHAPE)
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    told = {name: line[name] for name in ("level", "tenant_id", "asset_id", "model_name", "horizon_hours")}
    assert told == {
        "level": "INFO",
        "tenant_id": "demo",
        "asset_id": ASSET,
        "model_name": "auto",
        "horizon_hours": 12,
    }
    assert line["latency_ms"] > 0
    assert line["trace_id"] == TRACE


def test_a_detection_tells_what_it_found(hub: Hub) -> None:
    asked = {"tenant_id": "demo", "asset_id": "a", "time_series": DAY, "method": "iqr"}

    hub.ask("POST", "/ai/anomaly", json=asked, headers={"X-Request-ID": "detect-once"})

    lines = [line for line in hub.logged("web") if line.get("request_id") == "detect-once"]
    (line,) = [line for line in lines if line["level"] == "INFO"]
    assert (line["event"], line["model_name"], line["total_points"]) == ("anomalies_detected", "iqr", 24)


def test_an_explanation_is_told_once_in_the_same_shape(hub: Hub) -> None:
    made = hub.ask("POST", "/ai/forecast", json={**FORECAST, "horizon_hours": 12}).json()
    asked = {"tenant_id": FORECAST["tenant_id"], "prediction_id": made["forecast_id"], "step": 3}
    headers = {"X-Request-ID": "why-is-it-so", "traceparent": TRACEPARENT}

    for _ in range(2):  # the second time the answer is there
        answer = hub.ask("POST", "/ai/explain", json=asked, headers=headers)
        assert answer.status_code == 200, answer.text

    lines = [line for line in hub.logged("web") if line.get("request_id") == "why-is-it-so"]
    (line,) = [line for line in lines if line["event"] == "explanation_made"]
    assert list(line)[:10] == list(SHAPE)
    told = {name: line[name] for name in ("level", "tenant_id", "asset_id", "model_name", "horizon_hours")}
    expected = {"level": "INFO", "tenant_id": "demo", "asset_id": ASSET}
    assert told == {**expected, "model_name": "auto", "horizon_hours": 12}
    assert line["latency_ms"] > 0
    assert line["trace_id"] == TRACE
    assert line["explanation_id"] == answer.json()["explanation_id"]
    assert (line["scope"], line["subject"]) == ("local", "forecast")


def test_the_request_id_goes_with_the_task(hub: Hub) -> None:
    export_id = request_export(hub, "follow-me")

    def told() -> list[str]:
        lines = [line for line in hub.logged("worker") if line.get("request_id") == "follow-me"]
        return [line["event"] for line in lines if line.get("job_id") == export_id]

    eventually(lambda: "job_completed" in told())
    assert told() == ["job_started", "job_completed"]


def request_export(hub: Hub, request_id: str) -> str:
    asked = {
        "tenant_id": "demo",
        "feature_set": "forecast_basic",
        "asset_ids": [ASSET],
        "start_time": "2017-01-01T00:00:00Z",
        "end_time": "2017-01-05T00:00:00Z",
    }
    answer = hub.ask("POST", "/ai/features/export", json=asked, headers={"X-Request-ID": request_id})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["export_id"])


@pytest.fixture(scope="module")
def all_kinds(hub: Hub) -> list[str]:
    """All kinds of requests, with secrets where callers put them, rightly or wrongly. The secrets that must not show."""
    stranger = token_of(hub.up, "stranger")
    forged = hub.token[:-6] + "AAAAAA"
    for token in (hub.token, stranger, forged, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "x" * 9000):
        for method, path, body in (
            ("POST", "/ai/forecast", FORECAST),
            ("POST", "/ai/forecast", {**FORECAST, "horizon_hours": "many"}),
            ("POST", "/ai/anomaly", {"tenant_id": "demo", "asset_id": "a", "time_series": DAY}),
            ("POST", "/ai/features/get", {"tenant_id": "demo", "asset_id": ASSET, "feature_set": "no"}),
            ("POST", "/ai/features/readings", {"tenant_id": "demo", "asset_id": "new", "readings": DAY}),
            ("POST", "/ai/models/register", {"tenant_id": "demo", "password": PASSWORD}),
            ("GET", f"/ai/forecasts?token={token[:4000]}&access_token={PASSWORD}", None),
            ("GET", f"/nowhere/{PASSWORD}", None),
            ("GET", "/metrics", None),
            ("GET", "/health/detailed", None),
            ("DELETE", "/ai/models/demo:none:v1", None),
        ):
            hub.ask(method, path, token=token, json=body, headers={"Cookie": f"sessionid={PASSWORD}"})
    hub.ask("GET", "/metrics", token=METRICS_TOKEN)
    kept = json.loads((hub.up.folder / "services.json").read_text())
    ours = [(hub.up.folder / name).read_text() for name in ("secret_key", "admin_password")]
    cookies = sign_in(hub, ours[1])
    signatures = [token.rpartition(".")[2] for token in (hub.token, stranger)]
    return [
        *(hub.token, stranger, forged, *signatures, PASSWORD, METRICS_TOKEN, *ours, *cookies),
        *(kept["postgres_password"], kept["redis_password"]),
        (hub.up.folder / "development_issuer.pem").read_text().splitlines()[1],
    ]


def sign_in(hub: Hub, password: str) -> list[str]:
    """To the pages, first wrongly. The cookies that it was given."""
    with httpx.Client(base_url=hub.address, timeout=60) as person:
        for said in (PASSWORD, password):
            found = CSRF.search(person.get("/admin/login/").text)
            assert found is not None
            form = {"username": "admin", "password": said, "csrfmiddlewaretoken": found[1]}
            person.post("/admin/login/?next=/admin/", data=form, headers={"Referer": hub.address})
        assert person.get("/admin/").status_code == 200
        return list(person.cookies.values())


def test_no_secret_is_in_any_log(hub: Hub, all_kinds: list[str]) -> None:
    request_export(hub, "secret-keeper")
    eventually(lambda: any(line.get("request_id") == "secret-keeper" for line in hub.logged("worker")))
    text = "".join(log.read_text() for log in hub.up.folder.glob("logs/*.log"))

    assert len(text) > 10_000
    assert [secret[:12] for secret in all_kinds if secret in text] == []


def test_every_line_is_json_and_none_is_told_twice(hub: Hub, all_kinds: list[str]) -> None:
    for name in ("web", "worker", "beat"):
        plain = [line for line in hub.lines(name) if not line.startswith("{")]
        if any(WARNING_TO_ROOT in line for line in plain):  # before there are settings; to root alone
            plain = plain[8:]
        assert [line for line in plain if not SAID_BY_CELERY_ITSELF.match(line)] == []
        told = [json.loads(line) for line in hub.lines(name) if line.startswith("{")]
        assert told
        assert {"timestamp", "level", "event", "logger"} <= set.intersection(*map(set, told))
        counted = Counter(json.dumps(line, sort_keys=True) for line in told)
        assert [line for line, times in counted.items() if times > 1] == []
        assert told_again_at_once(told) == []


def told_again_at_once(told: list[dict[str, Any]]) -> list[str]:
    """Lines that differ from one before in their time alone, and hardly: two handlers that write one event of a library
    look at the clock twice."""
    last: dict[str, datetime] = {}
    again = []
    for line in told:
        if line["level"] != "DEBUG":  # whose loops may say the same thing at once
            said = json.dumps(
                {name: value for name, value in line.items() if name != "timestamp"}, sort_keys=True
            )
            at = datetime.fromisoformat(line["timestamp"])
            if said in last and abs(at - last[said]) < timedelta(milliseconds=50):
                again.append(said)
            last[said] = at
    return again


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("redis://:hunter2hunter2@cache:6379/0", "redis://:[hidden]@cache:6379/0"),
        ("postgresql://omarino:hunter2hunter2@db/omarino", "postgresql://omarino:[hidden]@db/omarino"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer [hidden]"),
        ("GET /f?X-Amz-Signature=hunter2hunter2&x=1", "GET /f?X-Amz-Signature=[hidden]&x=1"),
        ("{'password': 'hunter2hunter2', 'a': 1}", "{'password': '[hidden]', 'a': 1}"),
        ("The token: it has expired.", "The token: it has expired."),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.hunter2", "[hidden]"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(said: str, kept: str) -> None:
    line: dict[str, Any] = {"event": said}

    assert json.loads(logs.rendered(None, "info", line))["event"] == kept
