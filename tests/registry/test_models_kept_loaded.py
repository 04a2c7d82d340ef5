"""The models a process keeps loaded: how many, how long, and that each is loaded once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from omarino.authentication import Principal
from registry import artifacts, serving
from registry.models import ModelVersion, Stage
from registry.serving import CACHE, PredictorCache
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made
from tests.registry.test_predict import predict

pytestmark = pytest.mark.django_db


def versions(owner: Principal, count: int, **portrait: Any) -> list[ModelVersion]:
    made = [
        make_version(owner, version=f"v1.{index}.0", artifact=models_made.lightgbm_text(5 + index))
        for index in range(count)
    ]
    for version in made:
        version.portrait.update(portrait)
    return made


def test_the_least_used_is_let_go_by_number(alice: Principal, settings: Any) -> None:
    settings.MODEL_CACHE_SIZE = 2
    first, second, third = versions(alice, 3)
    cache = PredictorCache()

    for version in (first, second, first, third):
        cache.get(version)

    assert list(cache.sizes()) == [first.sha256, third.sha256]


def test_and_by_bytes(alice: Principal, settings: Any) -> None:
    settings.MODEL_CACHE_BYTES = 2_500_000
    first, second, third = versions(alice, 3, memory_bytes=1_000_000)
    cache = PredictorCache()

    for version in (first, second, third):
        cache.get(version)

    assert cache.sizes() == {second.sha256: 1_000_000, third.sha256: 1_000_000}


def test_and_by_time(alice: Principal, settings: Any) -> None:
    settings.MODEL_CACHE_TTL = 60
    now = [0.0]
    first, second = versions(alice, 2)
    cache = PredictorCache(clock=lambda: now[0])

    cache.get(first)
    now[0] = 61.0
    cache.get(second)

    assert list(cache.sizes()) == [second.sha256]


def test_two_threads_that_ask_at_once_load_it_once(alice: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_version(alice, artifact=models_made.lightgbm_text())
    version = ModelVersion.objects.select_related("model").get(
        pk=made.pk
    )  # other threads see no row of a test
    reads: list[ModelVersion] = []
    read = artifacts.read

    def counted(asked: ModelVersion) -> bytes:
        reads.append(asked)
        return read(asked)

    monkeypatch.setattr(artifacts, "read", counted)
    cache, found = PredictorCache(), []
    threads = [threading.Thread(target=lambda: found.append(cache.get(version))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(reads) == 1
    assert len(set(map(id, found))) == 1


def test_a_model_is_loaded_once_for_many_requests(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(alice, artifact=models_made.lightgbm_text())
    for _ in range(3):
        predict(client_of(alice), version)

    assert list(CACHE.sizes()) == [version.sha256]
    assert serving.predictor_of(version) is CACHE.get(version)


@pytest.mark.parametrize("word", ["production", "v1.0.0"])
def test_a_prediction_costs_one_query(word: str, alice: Principal, client_of: ClientOf) -> None:
    """Which version it is, by its stamps; of the tenant the session knows since the request before."""
    make_version(alice, artifact=models_made.lightgbm_text(), stage=Stage.PRODUCTION)
    client = client_of(alice)
    predict(client, f"alpha:site-load:{word}")

    with CaptureQueriesContext(connection) as asked:
        assert predict(client, f"alpha:site-load:{word}").status_code == 200

    assert len(asked.captured_queries) == 1, asked.captured_queries
