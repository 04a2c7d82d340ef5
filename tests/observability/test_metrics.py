"""GET /metrics of a real service: right with several processes, also after one of them died."""

from __future__ import annotations

import http.client
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.observability.conftest import METRICS_TOKEN, Hub, eventually, parsed, total
from tests.registry.models_made import lightgbm_text

ASSET = "home-electricity-illinois"
SERIES = [
    {"timestamp": f"2025-01-{day:02}T{hour:02}:00:00Z", "value": 400.0 if (day, hour) == (9, 12) else hour}
    for day in range(1, 15)
    for hour in range(24)
]


def test_requests_of_all_processes_are_added_up(hub: Hub) -> None:
    before = hub.total("ai_service_requests_total", route="/health", status="2xx")
    timed = hub.total("ai_service_request_duration_ms_count", route="/health")

    for _ in range(60):
        with httpx.Client() as caller:  # a connection each, so that both processes get some
            assert caller.get(f"{hub.address}/health").status_code == 200

    assert hub.total("ai_service_requests_total", route="/health", status="2xx") == before + 60
    assert hub.total("ai_service_request_duration_ms_count", route="/health") == timed + 60
    counting = {file.stem for file in (hub.up.folder / "metrics").glob("histogram_*.db")}
    assert len({f"histogram_{each.pid}" for each in hub.processes("granian")} & counting) == 2


def test_what_a_killed_process_counted_stays_and_its_files_go(hub: Hub) -> None:
    before = hub.total("ai_service_requests_total", route="/health")
    victim = next(each for each in hub.processes("granian") if (counts_of(hub, each)).exists())

    victim.kill()
    eventually(lambda: not psutil.pid_exists(victim.pid))
    eventually(lambda: len(hub.processes("granian")) == 2)
    for _ in range(20):
        with httpx.Client() as caller:
            assert caller.get(f"{hub.address}/health").status_code == 200

    assert hub.total("ai_service_requests_total", route="/health") == before + 20
    assert not counts_of(hub, victim).exists()
    assert (hub.up.folder / "metrics" / "counter_0.db").exists()


def counts_of(hub: Hub, process: psutil.Process) -> Path:
    return hub.up.folder / "metrics" / f"counter_{process.pid}.db"


def test_what_leads_nowhere_has_one_label(hub: Hub) -> None:
    for number in range(30):
        hub.ask("GET", f"/nowhere/{number}")
        hub.ask("GET", f"/ai/forecast/{number}-is-no-id")
    for number in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", hub.up.port, timeout=30)
        connection.request(f"ODD{number}", "/health")
        connection.getresponse().read()
        connection.close()

    samples = hub.scrape()

    assert total(samples, "ai_service_requests_total", route="none", status="4xx") >= 60
    methods = {labels["method"] for labels, _ in samples["ai_service_requests_total"]}
    assert methods <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}
    routes = {labels["route"] for labels, _ in samples["ai_service_requests_total"]}
    assert not [route for route in routes if re.search(r"\d", route)]


def test_models_caches_and_anomalies_are_counted_and_no_tenant_is_named(hub: Hub) -> None:
    before = hub.scrape()
    forecast = {"tenant_id": "demo", "asset_id": ASSET, "forecast_type": "load"}
    assert hub.ask("POST", "/ai/forecast", json=forecast).status_code == 200
    detection = {"tenant_id": "demo", "asset_id": "secret-asset", "time_series": SERIES, "method": "z_score"}
    found = hub.ask("POST", "/ai/anomaly", json=detection).json()["summary"]["anomalies_detected"]
    features = {"tenant_id": "demo", "asset_id": ASSET, "feature_set": "forecast_basic"}
    features["timestamp"] = "2017-01-01T00:00:00Z"
    for _ in range(3):
        assert hub.ask("POST", "/ai/features/get", json=features).status_code == 200
    predict_with_a_registered_model(hub, times=4)

    after = hub.scrape()

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grown("ai_service_model_predictions_total", kind="forecast", algorithm="auto") == 1
    assert grown("ai_service_inference_duration_ms_count", kind="forecast") == 1
    assert found > 0
    assert grown("ai_service_anomalies_detected_total", method="z_score") == found
    assert grown("ai_service_feature_cache_misses_total") == 1
    assert grown("ai_service_feature_cache_hits_total") == 2
    assert grown("ai_service_model_predictions_total", kind="prediction", algorithm="lightgbm") == 4
    loaded = grown("ai_service_model_cache_misses_total")
    assert 1 <= loaded <= 2  # once in each process that was asked
    assert grown("ai_service_model_cache_hits_total") == 4 - loaded
    text = hub.ask("GET", "/metrics", token=METRICS_TOKEN).text
    for name in ("demo", ASSET, "secret-asset", "site-secret", "observer"):
        assert name not in text


def predict_with_a_registered_model(hub: Hub, *, times: int) -> None:
    model_id = "demo:site-secret:v1.0.0"
    told = {
        "tenant_id": "demo",
        "model_name": "site-secret",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm"},
    }
    registered = hub.ask("POST", "/ai/models/register", json=told)
    assert registered.status_code == 201, registered.text
    stored = hub.ask("PUT", f"/ai/models/{model_id}/artifact", content=lightgbm_text())
    assert stored.status_code == 200, stored.text
    for _ in range(times):
        answer = hub.ask(
            "POST", f"/ai/models/{model_id}/predict", json={"input": {"a": 1, "b": 2, "c": 3, "d": 4}}
        )
        assert answer.status_code == 200, answer.text


def test_tasks_of_the_worker_are_in_and_the_worker_tells_them_itself_as_well(hub: Hub) -> None:
    def runs() -> float:
        return hub.total("ai_service_tasks_total", task="omarino.sweep_jobs", status="success")

    before = runs()
    eventually(lambda: runs() > before, 40)  # beat asks every 15 s

    own = parsed(httpx.get(f"http://127.0.0.1:{hub.worker_port}/metrics").text)
    assert total(own, "ai_service_tasks_total", task="omarino.sweep_jobs") > before
    assert "ai_service_queue_depth" not in own


def test_who_brings_no_token_of_its_own_is_turned_away(hub: Hub) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {hub.token}"}):
        answer = httpx.get(f"{hub.address}/metrics", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert "metrics" in answer.headers["WWW-Authenticate"]


def test_it_answers_while_database_and_queue_hang(hub: Hub) -> None:
    with hanging(hub, "bin/postgres"), hanging(hub, "valkey-server"):
        eventually(lambda: parts_up(hub) == {"storage", "identity"}, 20)
        began = time.monotonic()
        samples = hub.scrape()
        took_s = time.monotonic() - began

    assert took_s < 15  # two seconds for each of them; a hang would last a minute
    assert "ai_service_queue_depth" not in samples
    assert "ai_service_jobs" not in samples
    assert total(samples, "ai_service_requests_total") > 0
    eventually(lambda: parts_up(hub) == {"database", "queue", "storage", "identity"}, 40)
    eventually(lambda: "ai_service_job_age_seconds" in hub.scrape())


def parts_up(hub: Hub) -> set[str]:
    parts = ("database", "queue", "storage", "identity")
    return {part for part in parts if hub.total("ai_service_dependency_up", part=part) == 1}


@contextmanager
def hanging(hub: Hub, name: str) -> Iterator[None]:
    """Its processes are stopped in their tracks: connections stay, nothing is answered."""
    stopped = hub.up.family()[name]
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
