"""The issuer's keys: rotated, withdrawn, unknown, unusable, and an issuer that does not answer or answers nonsense."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext as nothing
from typing import Any

import pytest

from omarino.authentication import principal_of
from omarino.errors import IdentityUnavailable
from tests.omarino.conftest import Ask
from tests.omarino.issuer import RSA_KEYS, SHORT_KEY, Issuer, jwk_of


def test_a_rotated_key_is_fetched_when_its_first_token_comes(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    principal_of(issuer.token())
    issuer.keys = [jwk_of(RSA_KEYS[1], "second"), jwk_of(RSA_KEYS[0], "first")]
    clock(61)

    assert principal_of(issuer.token(key=RSA_KEYS[1], kid="second")).tenant_id == "alpha"
    assert issuer.fetches == 2


def test_a_withdrawn_key_is_forgotten_within_five_minutes(
    issuer: Issuer, ask: Ask, clock: Callable[[float], None]
) -> None:
    assert ask(issuer.token()).status_code == 200
    issuer.keys = [jwk_of(RSA_KEYS[1], "second")]
    clock(301)

    assert ask(issuer.token()).status_code == 401


def test_tokens_of_unknown_keys_make_us_ask_once_a_minute(
    issuer: Issuer, ask: Ask, clock: Callable[[float], None]
) -> None:
    for number in range(20):
        assert ask(issuer.token(key=RSA_KEYS[1], kid=f"unknown-{number}")).status_code == 401
    assert issuer.fetches == 1
    clock(61)
    for number in range(20):
        assert ask(issuer.token(key=RSA_KEYS[1], kid=f"unknown-{number}")).status_code == 401
    assert issuer.fetches == 2


def test_good_tokens_are_checked_without_asking_again(issuer: Issuer) -> None:
    for _ in range(20):
        principal_of(issuer.token())

    assert issuer.fetches == 1


def test_with_known_keys_an_outage_of_the_issuer_goes_unnoticed(
    issuer: Issuer, ask: Ask, clock: Callable[[float], None]
) -> None:
    assert ask(issuer.token()).status_code == 200
    issuer.status, issuer.body = 503, b"down"
    clock(3600)

    assert ask(issuer.token()).status_code == 200
    assert ask(issuer.token()).status_code == 200
    assert issuer.fetches == 2


def test_while_one_request_asks_a_slow_issuer_the_others_use_the_keys_they_have(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    principal_of(issuer.token())
    issuer.drip_s = 0.05
    clock(301)
    asking = threading.Thread(target=principal_of, args=[issuer.token()])
    asking.start()
    while issuer.fetches < 2:
        time.sleep(0.005)

    began = time.perf_counter()
    principal_of(issuer.token())
    took_s = time.perf_counter() - began
    still_asking = asking.is_alive()
    asking.join()

    assert still_asking, f"the issuer answered before the second token was read, which took {took_s:.3f} s"


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<html>Bad gateway</html>",
    "a list": b"[]",
    "keys that are no list": b'{"keys": {"kty": "RSA"}}',
    "keys that are no objects": b'{"keys": [1, null, "RSA", []]}',
    "no keys": b'{"keys": []}',
    "a key of nonsense": b'{"keys": [{"kty": "RSA", "kid": "first", "n": "!", "e": 7}]}',
    "a key without numbers": b'{"keys": [{"kty": "RSA", "kid": "first"}]}',
    "a key with a number as name": b'{"keys": [{"kty": "RSA", "kid": 1}]}',
    "brackets": b"[" * 100_000,
    "a flood": b'{"keys": [' + b" " * 400_000 + b"]}",
    "the wrong bytes": b"\xff\xfe",
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_issuer_that_answers_nonsense_is_an_outage(case: str, issuer: Issuer, ask: Ask) -> None:
    issuer.body = BROKEN[case]

    response = ask(issuer.token())

    assert response.status_code == 503
    assert response.json()["code"] == "identity_unavailable"
    assert int(response.headers["Retry-After"]) > 0


def test_one_unusable_key_does_not_hide_the_good_one(issuer: Issuer) -> None:
    issuer.keys = [
        {"kty": "RSA", "kid": "first", "n": "!", "e": 7},
        "noise",
        jwk_of(SHORT_KEY, "short"),
        jwk_of(RSA_KEYS[1], "encryption", use="enc"),
        jwk_of(RSA_KEYS[1], "other-algorithm", alg="RSA-OAEP"),
        jwk_of(RSA_KEYS[0], "good"),
    ]

    assert principal_of(issuer.token(kid="good")).tenant_id == "alpha"


@pytest.mark.parametrize("kid", ["short", "encryption", "other-algorithm"])
def test_a_key_that_is_too_short_or_for_something_else_signs_nothing(
    kid: str, issuer: Issuer, ask: Ask
) -> None:
    issuer.keys = [
        jwk_of(SHORT_KEY, "short"),
        jwk_of(RSA_KEYS[1], "encryption", use="enc"),
        jwk_of(RSA_KEYS[1], "other-algorithm", alg="RSA-OAEP"),
        jwk_of(RSA_KEYS[0], "good"),
    ]

    with pytest.warns() if kid == "short" else nothing():  # PyJWT warns of the short key we make here
        token = issuer.token(kid=kid, key=SHORT_KEY if kid == "short" else RSA_KEYS[1])

    assert ask(token).status_code == 401


def test_a_dead_issuer_without_known_keys_is_an_outage_not_a_bad_token(
    issuer: Issuer, ask: Ask, settings: Any
) -> None:
    settings.JWKS_URL = "http://127.0.0.1:9/realms/omarino/protocol/openid-connect/certs"

    response = ask(issuer.token())

    assert (response.status_code, response.json()["code"]) == (503, "identity_unavailable")
    assert int(response.headers["Retry-After"]) > 0


def test_after_an_outage_the_next_tokens_are_good_again(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    issuer.status, issuer.body = 500, b"starting"
    with pytest.raises(IdentityUnavailable):
        principal_of(issuer.token())
    issuer.status, issuer.body = 200, None
    clock(3)

    assert principal_of(issuer.token()).tenant_id == "alpha"


def test_a_dripping_issuer_holds_nobody_longer_than_seconds_and_all_who_wait_get_the_same_answer(
    issuer: Issuer,
) -> None:
    issuer.drip_s = 0.3  # the whole document would take about ten seconds
    answers: list[str] = []

    def ask_once() -> None:
        try:
            principal_of(issuer.token())
        except IdentityUnavailable as outage:
            answers.append(outage.code)

    began = time.monotonic()
    threads = [threading.Thread(target=ask_once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["identity_unavailable"] * 4
    assert issuer.fetches == 1
    assert time.monotonic() - began < 6
