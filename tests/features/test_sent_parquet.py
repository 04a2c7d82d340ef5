"""Parquet files sent by callers are never opened in the process that serves."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rest_framework.test import APIClient

from features.models import Reading
from omarino.authentication import Principal
from tests.conftest import ClientOf

PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def client(alice: Principal, client_of: ClientOf) -> APIClient:
    return client_of(alice)


def written(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def post(client: APIClient, body: bytes) -> tuple[int, str]:
    response = client.post("/ai/features/readings?asset_id=meter", body, content_type=PARQUET)
    return response.status_code, str(response.json().get("code", ""))


def test_a_file_that_ends_pyarrows_process_is_refused_and_the_service_lives(client: APIClient) -> None:
    """A byte of the statistics in the footer changed: pyarrow 26 calls std::terminate."""
    content = bytearray(written(a=[1.0, None, 3.0], b=pa.array([1, 2, 3], pa.int32())))
    generator = np.random.default_rng(1)
    for _ in range(int(generator.integers(1, 6))):
        content[int(generator.integers(len(content)))] = int(generator.integers(256))

    assert post(client, bytes(content)) == (422, "file_unreadable")


def test_bytes_changed_anywhere_are_refused_or_read(client: APIClient) -> None:
    times = pa.array([0, 3_600_000_000], pa.timestamp("us", "UTC"))
    whole, generator = written(timestamp=times, value=[1.0, 2.0]), np.random.default_rng(2)

    for _ in range(8):
        body = bytearray(whole)
        for _ in range(3):
            body[int(generator.integers(len(body)))] = int(generator.integers(256))
        assert post(client, bytes(body))[0] in (200, 400, 422)


def test_categories_and_large_texts_are_read_as_before(client: APIClient) -> None:
    times = pa.array(["2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z"], pa.large_string())
    quality = pa.array(["good", "bad"]).dictionary_encode()

    status, _ = post(client, written(timestamp=times, value=[1.0, 2.0], quality=quality))

    assert status == 200
    assert list(Reading.objects.order_by("timestamp").values_list("value", "quality")) == [
        (1.0, "good"),
        (2.0, "bad"),
    ]
