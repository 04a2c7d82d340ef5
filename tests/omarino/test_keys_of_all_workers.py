"""What one process was told of the issuer's keys, all know: `Keys()` is what a process holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as of_the_service
from django.core.cache import caches
from rest_framework.exceptions import AuthenticationFailed
from structlog.testing import capture_logs

from omarino import keys as module
from omarino.errors import IdentityUnavailable
from omarino.keys import COLD_REFETCH_WAIT_S, REFETCH_WAIT_S, SHARED_FOR_S, Keys
from omarino.valkey import client as valkey
from tests.omarino.conftest import pass_in_valkey
from tests.omarino.issuer import RSA_KEYS, Issuer, jwk_of

UNKNOWN = pytest.raises(AuthenticationFailed, match="unknown key")


@pytest.fixture
def no_valkey(settings: Any) -> Iterator[None]:
    settings.CACHES = {"default": {**of_the_service.CACHES["default"], "LOCATION": "redis://127.0.0.1:9/0"}}
    module.SHARED.door.forget()
    yield
    module.SHARED.door.forget()


def shared_names() -> list[bytes]:
    return [name for name in valkey().keys("omarino:jwks:*") if name.endswith(b":answer")]


def test_a_process_that_starts_later_asks_nobody(issuer: Issuer) -> None:
    Keys().key("first")

    Keys().key("first")

    assert issuer.fetches == 1


def test_an_unknown_key_makes_all_processes_together_ask_once_a_minute(issuer: Issuer) -> None:
    processes = [Keys() for _ in range(4)]
    for process in processes:
        process.key("first")

    for number in range(10):
        for process in processes:
            with UNKNOWN:
                process.key(f"made-up-{number}")
    assert issuer.fetches == 1  # the first answer is not a minute old

    pass_in_valkey(seconds=REFETCH_WAIT_S + 1)
    for process in [Keys() for _ in range(4)]:
        for number in range(10):
            with UNKNOWN:
                process.key(f"made-up-{number}")
    assert issuer.fetches == 2


def test_a_rotated_key_one_process_asked_for_is_known_to_the_others_at_once(issuer: Issuer) -> None:
    early, late = Keys(), Keys()
    early.key("first")
    late.key("first")
    issuer.keys = [jwk_of(RSA_KEYS[0], "first"), jwk_of(RSA_KEYS[1], "second")]
    pass_in_valkey(seconds=REFETCH_WAIT_S + 1)
    third = Keys()

    third.key("second")
    early.key("second")
    late.key("second")

    assert issuer.fetches == 2


def test_a_clock_of_valkey_set_back_puts_no_question_off(issuer: Issuer) -> None:
    Keys().key("first")
    pass_in_valkey(seconds=-3600)
    issuer.keys = [jwk_of(RSA_KEYS[1], "second")]

    with UNKNOWN:
        Keys().key("second")  # within the minute
    pass_in_valkey(seconds=REFETCH_WAIT_S + 1)

    assert Keys().key("second")
    assert issuer.fetches == 2


def test_processes_that_start_together_ask_once_and_wait_for_the_answer(issuer: Issuer) -> None:
    issuer.drip_s = 0.01
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(Keys().key("first"))) for _ in range(6)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(found), issuer.fetches) == (6, 1)


def test_real_processes_ask_once(issuer: Issuer) -> None:
    script = """
import json, sys
import django
django.setup()
from rest_framework.exceptions import AuthenticationFailed
from omarino.authentication import principal_of
good, bad = json.load(sys.stdin)
assert principal_of(good).tenant_id == "alpha"
refused = 0
for token in bad:
    try:
        principal_of(token)
    except AuthenticationFailed:
        refused += 1
print(refused)
"""
    told = json.dumps(
        [issuer.token(), [issuer.token(key=RSA_KEYS[1], kid=f"made-up-{n}") for n in range(20)]]
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "omarino.settings",
        "KEYCLOAK_URL": issuer.url,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(valkey().connection_pool.connection_kwargs["port"]),
        "REDIS_PASSWORD": str(valkey().connection_pool.connection_kwargs.get("password") or ""),
        "SECRET_KEY": of_the_service.SECRET_KEY,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=of_the_service.BASE_DIR,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write(told)
        process.stdin.close()
    answers = [process.stdout.read().strip() for process in processes if process.stdout]
    assert [process.wait(60) for process in processes] == [0] * 4
    for process in processes:
        assert process.stdout
        process.stdout.close()

    assert answers == ["20"] * 4
    assert issuer.fetches == 1


def test_a_process_that_starts_while_the_issuer_is_away_knows_what_the_others_knew(issuer: Issuer) -> None:
    Keys().key("first")
    issuer.status, issuer.body = 503, b"down"
    pass_in_valkey(seconds=3600)

    assert Keys().key("first")
    pass_in_valkey(seconds=SHARED_FOR_S)
    with pytest.raises(IdentityUnavailable):
        Keys().key("first")


def test_while_the_issuer_is_away_it_is_asked_once_a_minute_whoever_needs_it(issuer: Issuer) -> None:
    Keys().key("first")
    issuer.status, issuer.body = 503, b"down"
    pass_in_valkey(seconds=3600)

    for _ in range(5):
        Keys().key("first")

    assert issuer.fetches == 2


def test_keys_that_somebody_else_put_into_valkey_are_not_believed(issuer: Issuer) -> None:
    Keys().key("first")
    (name,) = shared_names()
    forged = json.dumps({"keys": [jwk_of(RSA_KEYS[1], "forged")]}).encode()
    signature = valkey().get(name).rpartition(b":")[2]

    for text in (forged, forged + b":" + signature, b"\xff\xfe", b""):
        valkey().set(name, text, keepttl=True)
        with capture_logs() as lines, pytest.raises(IdentityUnavailable):
            Keys().key("forged")
        assert "shared_jwks_unusable" in [line["event"] for line in lines]
    pass_in_valkey(seconds=COLD_REFETCH_WAIT_S + 1)
    with UNKNOWN:
        Keys().key("forged")
    assert Keys().key("first")
    assert issuer.fetches == 2


def test_without_valkey_each_process_asks_for_itself_and_once_a_minute(
    issuer: Issuer, no_valkey: None
) -> None:
    one, other = Keys(), Keys()

    with capture_logs() as lines:
        for process in (one, other):
            assert process.key("first")
            for number in range(20):
                with UNKNOWN:
                    process.key(f"made-up-{number}")

    assert issuer.fetches == 2
    assert [line["event"] for line in lines] == ["valkey_away"]


def test_with_a_silent_valkey_a_bad_token_costs_no_timeout_each(
    issuer: Issuer, settings: Any, silent_server: int
) -> None:
    location = f"redis://127.0.0.1:{silent_server}/0"
    settings.CACHES = {"default": {**of_the_service.CACHES["default"], "LOCATION": location}}
    process = Keys()
    began = time.monotonic()

    for number in range(50):
        with UNKNOWN:
            process.key(f"made-up-{number}")

    assert caches["default"]
    assert time.monotonic() - began < 5  # fifty timeouts would be ten seconds at least
    assert issuer.fetches == 1
