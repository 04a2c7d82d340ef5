"""Somebody sets the clock of the machine that web, worker and beat run on.

Leases are by PostgreSQL's clock and rate limits by Valkey's; on the product's own clock depend tokens, what beat sends,
and signatures of requests to S3. The clocks of PostgreSQL's and Valkey's machines are moved in tests/omarino, by moving
what they wrote: leases (test_jobs), budgets (test_rate_limits), keys of the issuer (test_keys_of_all_workers).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import httpx

from tests.chaos import works
from tests.chaos.conftest import Tell
from tests.chaos.product import LEASE_S, Product, eventually
from tests.chaos.works import Work

HOUR = 3600


def set_clock(product: Product, seconds: int) -> None:
    """And wait until every web process has it."""
    product.clock.write_text(str(seconds))
    seen = 0
    while seen < 20:
        told = datetime.fromisoformat(product.ask("GET", "/health").json()["timestamp"])
        off = (told - datetime.now(UTC)).total_seconds()
        seen = seen + 1 if abs(off - seconds) < 60 else 0


def status_with(product: Product, token: str) -> int:
    headers = product.signed(token)
    return httpx.get(f"{product.address}/ai/forecasts?limit=1", headers=headers, timeout=60).status_code


def budget_is_whole_in_s(product: Product) -> int:
    return int(product.ask("GET", "/ai/forecasts?limit=1").headers["RateLimit-Reset"])


def lose_a_work(product: Product) -> Work:
    """Its message is gone; only beat can wake somebody for it."""
    product.kill_all("worker")  # so that nobody takes the message
    work = works.ask_for_export(product)
    with product.valkey(1) as queue:
        queue.delete("celery")
    return work


def test_the_clock_moves_an_hour_ahead_and_two_hours_back(product: Product, tell: Tell) -> None:
    short = product.token_of(issued_s_ago=60, valid_s=600)
    fresh = product.token_of(issued_s_ago=0)
    with product.load() as load:
        set_clock(product, HOUR)
        assert status_with(product, short) == 401  # it is over, says the clock
        assert 0 <= budget_is_whole_in_s(product) <= 60
        set_clock(product, -HOUR)
        assert status_with(product, fresh) == 401  # it is not valid yet
        assert 0 <= budget_is_whole_in_s(product) <= 60
        began = time.monotonic()
        work = lose_a_work(product)
        eventually(
            lambda: work.row[1]
        )  # somebody took it up: beat does not wait until the clock has caught up
        took = time.monotonic() - began
        set_clock(product, 0)  # S3 takes no request that is signed an hour ago
        assert (status_with(product, short), status_with(product, fresh)) == (200, 200)
        work.wait_for_end()

    work.check_done_once()
    assert load.errors == {}  # who has a token for all that time notices nothing
    assert product.lost(load) == []
    assert took < 2 * LEASE_S + 60
    tell("The clock is set an hour ahead, then two back; a message is lost", load, recovered_s=took)
