"""A token read before is not read again, and every rule that would refuse it now still does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from rest_framework.exceptions import AuthenticationFailed

from omarino.authentication import PROOFS, Principal, Proofs, principal_of
from tests.omarino.conftest import Ask
from tests.omarino.issuer import RSA_KEYS, Issuer, jwk_of


@pytest.fixture(autouse=True)
def nothing_proved() -> None:
    PROOFS.forget()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tokens whose signature was verified, in order."""
    found: list[str] = []
    decode = jwt.decode

    def noted(token: str, *args: Any, **kwargs: Any) -> Any:
        found.append(token)
        return decode(token, *args, **kwargs)

    monkeypatch.setattr(jwt, "decode", noted)
    return found


def seconds_from_now(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_one_signature_is_verified_for_many_requests(issuer: Issuer, ask: Ask, read: list[str]) -> None:
    token, other = issuer.token(), issuer.token(sub="bob")

    answers = [ask(which).status_code for which in (token, other, token, other, token)]

    assert (answers, read) == ([200] * 5, [token, other])


def test_it_ends_when_the_token_does(issuer: Issuer, ask: Ask) -> None:
    until = seconds_from_now(60).replace(microsecond=0)  # a token tells whole seconds
    token = issuer.token(exp=until)
    assert ask(token).status_code == 200

    with time_machine.travel(until + timedelta(seconds=9), tick=False):  # ten seconds of skew are forgiven
        assert ask(token).status_code == 200
    with time_machine.travel(until + timedelta(seconds=11), tick=False):
        refused = ask(token)
    assert (refused.status_code, "expired" in refused.json()["detail"]) == (401, True)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_it_does_not_begin_before_the_token_where_a_clock_is_set_back(
    claim: str, issuer: Issuer, ask: Ask
) -> None:
    claims: dict[str, Any] = {"iat": seconds_from_now(-60), claim: seconds_from_now(0)}
    token = issuer.token(**claims)
    assert ask(token).status_code == 200

    with time_machine.travel(seconds_from_now(-30)):
        assert ask(token).status_code == 401


def test_a_withdrawn_key_takes_what_it_proved_with_it(
    issuer: Issuer, ask: Ask, clock: Callable[[float], None]
) -> None:
    token = issuer.token()
    assert ask(token).status_code == 200
    issuer.keys = [jwk_of(RSA_KEYS[1], "second")]
    clock(301)

    assert ask(token).status_code == 401


def test_another_key_under_the_same_name_proves_nothing_of_the_old_one(
    issuer: Issuer, ask: Ask, clock: Callable[[float], None]
) -> None:
    token = issuer.token()
    assert ask(token).status_code == 200
    issuer.keys = [jwk_of(RSA_KEYS[1], "first")]
    clock(301)

    assert ask(token).status_code == 401
    assert ask(issuer.token(key=RSA_KEYS[1])).status_code == 200


def test_while_the_issuer_is_away_what_was_proved_holds_as_its_keys_do(
    issuer: Issuer, ask: Ask, clock: Callable[[float], None]
) -> None:
    token = issuer.token()
    assert ask(token).status_code == 200
    issuer.status, issuer.body = 503, b"down"
    clock(3600)

    assert ask(token).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_REQUIRE_NBF", True),
        ("KEYCLOAK_CLIENT_ID", "another"),
        ("JWT_ISSUER", "https://elsewhere.example"),
    ],
)
def test_another_rule_asks_every_token_anew(
    name: str, value: Any, issuer: Issuer, ask: Ask, settings: Any
) -> None:
    token = issuer.token()
    assert ask(token).status_code == 200
    setattr(settings, name, value)

    assert ask(token).status_code == 401


def test_refusals_are_not_remembered(issuer: Issuer) -> None:
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            principal_of(issuer.token(tenant_id=None))

    assert len(PROOFS) == 0


def test_the_tail_of_a_known_token_opens_nothing(issuer: Issuer, ask: Ask) -> None:
    token = issuer.token()
    assert ask(token).status_code == 200

    assert [ask(other).status_code for other in (token[:-4] + "AAAA", token + "A", token.upper())] == [
        401
    ] * 3


def test_no_token_is_kept_and_the_oldest_goes_first(issuer: Issuer, alice: Principal) -> None:
    proofs = Proofs(size=2)
    token = issuer.token()
    principal_of(token)
    (proof,) = PROOFS._kept.values()

    assert token.rpartition(".")[2] not in repr(proof)
    for digest in (b"1", b"2", b"1", b"3"):
        proofs.keep(digest, proof)
    assert [digest for digest in (b"1", b"2", b"3") if proofs.find(digest)] == [b"1", b"3"]


def test_many_threads_at_once_keep_to_the_size(issuer: Issuer) -> None:
    proofs = Proofs(size=10)
    principal_of(issuer.token())
    (proof,) = PROOFS._kept.values()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: proofs.keep(b"%d" % number, proof), range(2_000)))

    assert len(proofs) == 10
