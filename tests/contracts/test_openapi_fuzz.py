"""What the OpenAPI document promises, the service keeps: made-up requests, good and bad, on every route."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from omarino.authentication import Principal
from tests.conftest import token_of

ROOT = Path(__file__).parents[2]
PARTS = [
    "/ai/audit",
    "/ai/forecast",
    "/ai/anomal",
    "/ai/explain",
    "/ai/features",
    "/ai/models",
    "/ai/mlflow",
    "/ml/anomalies",
    "/(api/)?health",
]
# A schema cannot say that a series needs two times, that a time lies between 1970 and 2199, or that the
# tenant is the token's, so some requests that fit it are refused; that they are not a 500 is what counts.
UNSPEAKABLE = "positive_data_acceptance"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.django_db(transaction=True)
def test_made_up_requests_find_no_broken_promise(
    live_server: LiveServer, alice: Principal, tmp_path: Path, part: str
) -> None:
    run = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{live_server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {token_of(alice)}", "--include-path-regex", f"^{part}"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--generation-deterministic"),
            *("--exclude-checks", UNSPEAKABLE, "--continue-on-failure", "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=800,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.contracts.fuzz_hooks", "PYTHONPATH": str(ROOT)},
    )

    assert run.returncode == 0, run.stdout[-6000:]


def test_every_route_is_in_one_of_the_parts(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    alone = [path for path in paths if not path.startswith((*PARTS[:-1], "/health", "/api/health"))]
    assert alone == []
