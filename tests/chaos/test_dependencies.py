"""PostgreSQL, Valkey and the storage: away, slow, empty, and back."""

from __future__ import annotations

import base64
import signal
import time

import pytest

from tests.chaos import works
from tests.chaos.conftest import Tell
from tests.chaos.product import LEASE_S, Product, Servers, eventually
from tests.registry import models_made

OUTAGE_S = 10.0


@pytest.fixture
def servers(product: Product) -> Servers:
    assert product.servers is not None
    return product.servers


def pids(product: Product) -> set[int]:
    return {process.pid for name in ("granian", "worker") for process in product.workers(name)}


# PostgreSQL


def test_postgresql_is_down_for_ten_seconds(product: Product, servers: Servers, tell: Tell) -> None:
    before = pids(product)
    with product.load() as load:
        servers.kill(servers.postgres)
        down = time.monotonic()
        load.wait_until(lambda: load.kinds["503"])
        assert product.ask("GET", "/health").status_code == 200
        time.sleep(max(OUTAGE_S - (time.monotonic() - down), 0))
        servers.start_postgres()
        back = time.monotonic()
        load.until_steady()

    assert set(load.errors) == {"503"}
    assert set(load.codes) == {"database_unavailable"}
    assert load.unsaid == []  # each 503 says when to come again
    assert load.failed_for(back) < 15
    assert load.slowest_s < 20
    assert product.lost(load) == []
    assert pids(product) == before  # nothing had to be started anew
    tell(f"PostgreSQL down for {OUTAGE_S:.0f} s (kill -9)", load, recovered_s=load.failed_for(back))


# Valkey


def test_valkey_is_down(product: Product, servers: Servers, tell: Tell) -> None:
    with product.load() as load:
        servers.kill(servers.valkey)
        down = time.monotonic()
        asked = works.ask_for_export(product)  # kept, though nobody can be woken
        assert time.monotonic() - down < 10
        time.sleep(2)
        count = load.kinds["200"]
        load.wait_until(lambda: load.kinds["200"] > count + 8)
        servers.start_valkey()
        back = time.monotonic()
        asked.wait_for_end()
        took = time.monotonic() - back
        load.until_steady()

    assert load.errors == {}  # slower, and counted, but answered
    asked.check_done_once()
    assert took < 2 * LEASE_S + 60
    tell("Valkey down: the export waits", load, recovered_s=took)


def test_valkey_comes_back_empty(product: Product, servers: Servers, tell: Tell) -> None:
    with product.load() as load:
        product.kill_all("worker")  # so that nobody takes the message
        asked = works.ask_for_export(product)
        servers.kill(servers.valkey)
        servers.start_valkey(empty=True)
        back = time.monotonic()
        asked.wait_for_end()
        took = time.monotonic() - back
        load.until_steady()

    assert load.errors == {}
    asked.check_done_once()
    assert took < 2 * LEASE_S + 60
    tell("Valkey restarted empty: the message is lost, the export is not", load, recovered_s=took)


def test_valkey_is_slow(product: Product, servers: Servers, tell: Tell) -> None:
    with product.load() as load:
        servers.valkey.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            asked = works.ask_for_export(product)
            waited = time.monotonic() - began
            time.sleep(3)
        finally:
            servers.valkey.send_signal(signal.SIGCONT)
        asked.wait_for_end()
        load.until_steady()

    assert load.errors == {}
    assert load.slowest_s < 10
    assert waited < 10
    asked.check_done_once()
    tell("Valkey hangs for 3 s", load, recovered_s=load.failed_for(began))


# The storage


def test_the_storage_is_down_in_a_register(product: Product, servers: Servers, tell: Tell) -> None:
    model = {
        "tenant_id": "demo",
        "model_name": "stored",
        "version": "v1.0.0",
        "model_type": "forecast",
        "metadata": {"framework": "lightgbm", "feature_names": models_made.NAMES},
        "model_file": base64.b64encode(models_made.lightgbm_text()).decode(),
    }
    with product.load(clients=2) as load:
        servers.kill(servers.s3)
        refused = product.ask("POST", "/ai/models/register", json=model)
        kept = product.sql("SELECT 1 FROM registry_modelversion v JOIN registry_registeredmodel m "
                           "ON m.id = v.model_id WHERE m.name = 'stored'")  # fmt: skip
        servers.start_s3()
        back = time.monotonic()
        taken = product.ask("POST", "/ai/models/register", json=model)
        took = time.monotonic() - back

    assert (refused.status_code, kept) == (503, []), refused.text
    assert int(refused.headers["Retry-After"]) > 0
    assert taken.status_code == 201, taken.text
    assert load.errors == {}  # who needs no file does not notice
    artifact = product.ask("GET", "/ai/models/demo:stored:v1.0.0/artifact")
    assert artifact.content == models_made.lightgbm_text()
    tell("S3 down in a register", load, recovered_s=took)


def test_the_storage_goes_down_in_an_export(product: Product, servers: Servers, tell: Tell) -> None:
    with product.load(clients=2) as load:
        with product.holding("LOCK TABLE weather_features IN ACCESS EXCLUSIVE MODE"):
            asked = works.ask_for_export(product)
            eventually(lambda: asked.status == "processing")
            servers.kill(servers.s3)
        eventually(lambda: asked.row[2])
        status, _, error = asked.row
        assert (status, "storage of exports does not answer" in error) == ("pending", True), error
        servers.start_s3()
        back = time.monotonic()
        asked.wait_for_end()
        took = time.monotonic() - back

    assert load.errors == {}
    asked.check_done_once()
    assert asked.row[1] == 2
    tell("S3 goes down in an export", load, recovered_s=took)
