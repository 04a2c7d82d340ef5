"""Celery workers killed in the middle of a work; messages delivered more than once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.chaos import works
from tests.chaos.conftest import Tell
from tests.chaos.product import LEASE_S, Product, eventually
from tests.chaos.works import TABLES, Work

WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


MADE = "SELECT 1 FROM registry_modelversion WHERE metadata->>'training_run' = %s AND stage = 'production'"


@contextmanager
def at_its_end(product: Product, work: Work) -> Iterator[Work]:
    """In hand, and not let to write its result."""
    eventually(lambda: work.status == "processing")
    with product.holding(f"SELECT 1 FROM {TABLES[work.kind]} WHERE id = %s FOR UPDATE", work.id):  # noqa: S608  ours
        yield work


@pytest.fixture(scope="module")
def killed(running: Product) -> tuple[list[Work], float]:
    """kill -9 of the worker and its children: while an explanation has its answer, while a training has put its version
    into production, while an export has begun its file. Gives the works, and the seconds until all were done."""
    product = running
    works.prepare(product)
    before = product.leader("worker").pid
    with ExitStack() as held:
        explanation = held.enter_context(at_its_end(product, works.ask_for_explanation(product)))
        training = held.enter_context(at_its_end(product, works.ask_for_training(product)))
        eventually(lambda: product.sql(MADE, training.id))
        held.enter_context(product.holding("LOCK TABLE weather_features IN ACCESS EXCLUSIVE MODE"))
        export = works.ask_for_export(product)
        eventually(lambda: export.status == "processing")
        for work in (explanation, training):
            waits = f"{WAITING} AND query LIKE '%%{TABLES[work.kind]}%%'"
            eventually(lambda waits=waits: product.sql(waits))
        product.kill_all("worker")
        began = time.monotonic()
        product.sql(f"SELECT pg_terminate_backend(pid) FROM ({WAITING}) w")  # what the dead asked for  # noqa: S608
    eventually(lambda: product.leader("worker").pid != before)
    asked = [explanation, training, export]
    for work in asked:
        work.wait_for_end()
    return asked, time.monotonic() - began


@pytest.mark.parametrize("kind", list(TABLES))
def test_a_work_whose_worker_is_killed_is_done_once(
    killed: tuple[list[Work], float], product: Product, tell: Tell, kind: str
) -> None:
    asked, took = killed
    work = next(work for work in asked if work.kind == kind)

    work.check_done_once()
    assert work.row[1] == 2
    assert took < 2 * LEASE_S + 60
    tell(f"kill -9 of the Celery worker in {'an' if kind[0] == 'e' else 'a'} {kind}", recovered_s=took)


@pytest.mark.parametrize("times", [2, 3])
def test_a_work_delivered_several_times_is_done_once(product: Product, tell: Tell, times: int) -> None:
    works.prepare(product)
    asked = [works.ask_for_explanation(product, seed=times), works.ask_for_export(product)]
    if times == 2:
        asked.append(works.ask_for_training(product))
    for work in asked:
        for _ in range(times - 1):
            work.deliver()
    for work in asked:
        work.wait_for_end()
    ends = [
        product.sql(f"SELECT completed_at, token FROM {TABLES[work.kind]} WHERE id = %s", work.id)  # noqa: S608  ours
        for work in asked
    ]
    for work in asked:
        work.deliver()  # long after
    eventually(lambda: product.waiting_messages() == 0)

    for work, end in zip(asked, ends, strict=True):
        work.check_done_once()
        assert work.row[1] == 1
        assert (
            product.sql(f"SELECT completed_at, token FROM {TABLES[work.kind]} WHERE id = %s", work.id) == end  # noqa: S608
        )
    tell(f"Every task delivered {times} times, and again when done")
