"""Celery workers killed in the middle of a work; messages delivered more than once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.chaos import works
from tests.chaos.conftest import Tell
from tests.chaos.product import LEASE_S, Product, eventually
from tests.chaos.works import TABLES, Work
from tests.omarino.test_up import lives

GATE = 803_777  # any number
HOLD_AT_THE_END = f"""
CREATE OR REPLACE FUNCTION chaos_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$;
"""
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


@contextmanager
def nobody_ends(product: Product) -> Iterator[None]:
    """Works go on until they would be completed, and stand still there."""
    product.sql(HOLD_AT_THE_END)
    for table in TABLES.values():
        product.sql(
            f"CREATE TRIGGER chaos_hold BEFORE UPDATE ON {table} FOR EACH ROW "
            "WHEN (NEW.status = 'completed') EXECUTE FUNCTION chaos_hold()"
        )
    try:
        with product.holding("SELECT pg_advisory_lock(%s)", GATE):
            yield
    finally:
        for table in TABLES.values():
            product.sql(f"DROP TRIGGER chaos_hold ON {table}")


@pytest.fixture(scope="module")
def killed(running: Product) -> tuple[list[Work], dict[str, int], float]:
    """kill -9 of the worker and its children at the worst moment: the explanation has its answer, the training has put
    its version into production, the file of the export is in its place, and no row says so. Gives the works, how
    often each had been begun, and the seconds until all were done."""
    product = running
    works.prepare(product)
    before = product.leader("worker").pid
    with nobody_ends(product):
        asked = [
            works.ask_for_explanation(product),
            works.ask_for_training(product),
            works.ask_for_export(product),
        ]
        eventually(lambda: len(product.sql(WAITING)) == len(asked))
        begun = {work.kind: work.row[1] for work in asked}  # once each, unless the machine was too busy
        family = [product.leader("worker"), *product.workers("worker")]
        product.kill_all("worker")
        began = time.monotonic()
        product.sql(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) w")  # what the dead asked for  # noqa: S608
    eventually(lambda: product.leader("worker").pid != before)
    eventually(
        lambda: not any(lives(process) for process in family)
    )  # those that ran models for them as well
    for work in asked:
        work.wait_for_end()
    return asked, begun, time.monotonic() - began


@pytest.mark.parametrize("kind", list(TABLES))
def test_a_work_whose_worker_is_killed_is_done_once(
    killed: tuple[list[Work], dict[str, int], float], product: Product, tell: Tell, kind: str
) -> None:
    asked, begun, took = killed
    work = next(work for work in asked if work.kind == kind)

    work.check_done_once()
    assert work.row[1] == begun[kind] + 1
    assert took < 2 * LEASE_S + 60
    tell(f"kill -9 of the Celery worker in {'an' if kind[0] == 'e' else 'a'} {kind}", recovered_s=took)


def test_an_explanation_whose_process_is_ended_for_its_memory_is_done_once(
    product: Product, tell: Tell
) -> None:
    """The kernel ends the one process that took most; the worker goes on, and so do its other processes."""
    works.prepare(product)
    leader, family = product.leader("worker").pid, product.workers("worker")
    with nobody_ends(product):
        work = works.ask_for_explanation(product)
        ((port,),) = eventually(lambda: product.sql(WAITING.replace("pid", "client_port", 1)))
        begun = work.row[1]
        ended = next(process for process in family if port in _ports_of(process))
        began = time.monotonic()
        ended.kill()
        product.sql(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) w")  # what the dead asked for  # noqa: S608
    work.wait_for_end()
    took = time.monotonic() - began

    work.check_done_once()
    assert work.row[1] == begun + 1
    assert product.leader("worker").pid == leader
    assert not lives(ended)
    assert all(lives(process) for process in family if process != ended)
    assert took < 2 * LEASE_S + 60
    tell("Memory ends in an explanation: kill -9 of its process", recovered_s=took)


def _ports_of(process: psutil.Process) -> set[int]:
    return {connection.laddr.port for connection in process.net_connections() if connection.laddr}


@pytest.mark.parametrize("times", [2, 3])
def test_a_work_delivered_several_times_is_done_once(product: Product, tell: Tell, times: int) -> None:
    works.prepare(product)
    asked = [
        works.ask_for_explanation(product),
        works.ask_for_export(product),
        works.ask_for_training(product),
    ]
    for work in asked:
        for _ in range(times - 1):
            work.deliver()
    for work in asked:
        work.wait_for_end()
    ends = [
        product.sql(f"SELECT completed_at, token FROM {TABLES[work.kind]} WHERE id = %s", work.id)  # noqa: S608  ours
        for work in asked
    ]
    left = product.waiting_messages()  # of killed workers: the queue keeps them for an hour
    for work in asked:
        work.deliver()  # long after
    eventually(lambda: product.waiting_messages() <= left)

    for work, end in zip(asked, ends, strict=True):
        work.check_done_once()
        assert work.row[1] == 1
        assert (
            product.sql(f"SELECT completed_at, token FROM {TABLES[work.kind]} WHERE id = %s", work.id) == end  # noqa: S608
        )
    tell(f"Every task delivered {times} times, and again when done")
