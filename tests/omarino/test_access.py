"""Who was kept out is counted, and of the unknown a few are in the log."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from omarino.access import LINES, LINES_A_MINUTE
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.omarino.conftest import Ask
from tests.omarino.issuer import Issuer


@pytest.fixture(autouse=True)
def nobody_said_anything() -> None:
    LINES.forget()


def refused(code: str) -> float:
    return REGISTRY.get_sample_value("ai_service_refused_total", {"code": code}) or 0.0


def test_each_refusal_is_counted_by_its_code(
    alice: Principal, client_of: ClientOf, client: Any, ask: Ask, settings: Any
) -> None:
    codes = [
        "not_authenticated",
        "authentication_failed",
        "permission_denied",
        "tenant_mismatch",
        "rate_limited",
    ]
    before = {code: refused(code) for code in codes}

    client.get("/ai/forecasts")
    ask("abc.def.ghi")
    client_of(alice, roles=frozenset()).get("/ai/forecasts")
    client_of(alice).get("/ai/forecasts", headers={"X-Tenant-ID": "beta"})
    settings.RATE_LIMIT_LIGHT = 1
    for _ in range(2):
        client_of(Principal("dora", "gamma", alice.roles, "dora")).get("/ai/forecasts")
    client_of(alice).get("/ai/forecasts?limit=x")

    assert {code: refused(code) - before[code] for code in codes} == dict.fromkeys(codes, 1.0)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "ExpiredSignatureError"),
        ({"iss": "https://elsewhere.example"}, "InvalidIssuerError"),
        ({"sub": "a\0"}, "MalformedBody"),
        ({"typ": "ID"}, "This is not an access token: its typ must be Bearer."),
    ],
)
def test_the_log_says_why_a_token_was_refused_and_nothing_of_it(
    claims: dict[str, Any], reason: str, issuer: Issuer, ask: Ask
) -> None:
    with capture_logs() as lines:
        assert ask(issuer.token(**claims)).status_code == 401

    assert lines == [
        {
            "event": "access_refused",
            "log_level": "warning",
            "code": "authentication_failed",
            "reason": reason,
            "method": "GET",
            "left_out": 0,
        }
    ]


def test_a_flood_leaves_ten_lines_a_minute_and_the_number_of_the_rest(
    issuer: Issuer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        for _ in range(LINES_A_MINUTE + 7):
            ask("abc.def.ghi")
        monkeypatch.setattr(LINES, "_since", LINES._since - 60)
        ask("abc.def.ghi")

    assert [line["left_out"] for line in lines] == [0] * LINES_A_MINUTE + [7]
