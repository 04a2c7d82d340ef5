"""What the OpenAPI document promises, the service keeps: made-up requests, good and bad, on every route."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from omarino.authentication import Principal
from tests.conftest import token_of

ROOT = Path(__file__).parents[2]
# A schema cannot say that a series needs two times, that a time lies between 1970 and 2199, or that the
# tenant is the token's, so some requests that fit it are refused; that they are not a 500 is what counts.
UNSPEAKABLE = "positive_data_acceptance"


@pytest.mark.django_db(transaction=True)
def test_made_up_requests_find_no_broken_promise(
    live_server: LiveServer, alice: Principal, tmp_path: Path
) -> None:
    run = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{live_server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {token_of(alice)}"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--generation-deterministic"),
            *("--exclude-checks", UNSPEAKABLE, "--continue-on-failure", "--no-color"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.contracts.fuzz_hooks", "PYTHONPATH": str(ROOT)},
    )

    assert run.returncode == 0, run.stdout[-6000:]
