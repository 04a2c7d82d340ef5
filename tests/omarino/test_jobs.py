"""Long works as rows, through the exports: claimed once, leased, fenced, swept, one at a time for each tenant."""

from __future__ import annotations

import contextvars
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from features.models import FeatureExport
from omarino import audit, jobs
from omarino.audit_models import AuditRecord
from omarino.authentication import Principal
from omarino.celery import app
from omarino.jobs import MOST_ATTEMPTS, JobNotCancellable, JobNotRetryable, JobStatus, JobTaken
from tests.factories import make_export
from tests.workers import running_worker, servers, wait_until

RESULT = {"row_count": 1, "file_size_bytes": 1, "sha256": "0" * 64}
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty_queue() -> None:
    app.control.purge()


def rows() -> Any:
    return FeatureExport.objects.get_queryset()


def claim(row: FeatureExport) -> FeatureExport:
    job: FeatureExport | None = rows().claim(row.pk)
    assert job is not None
    return job


def age(row: FeatureExport, **columns: timedelta) -> None:
    """Move times of the row into the past, as if so long had gone by."""
    rows().filter(pk=row.pk).update(**{name: Now() - by for name, by in columns.items()})


def let_lease_end(row: FeatureExport) -> None:
    age(row, lease_until=timedelta(seconds=1))


def fresh(row: FeatureExport) -> FeatureExport:
    return FeatureExport.objects.get(pk=row.pk)


def woken() -> list[str]:
    """The works that messages in the queue name, oldest first; they are taken out."""
    found = []
    with app.connection_for_read() as broker, broker.SimpleQueue("celery") as queue, suppress(Empty):
        while True:
            message = queue.get(block=False)
            message.ack()
            found.append(message.payload[0][0])
    return found


# Claims


def test_of_twenty_that_claim_it_one_has_it(alice: Principal) -> None:
    row = make_export(alice)

    def attempt(_: int) -> FeatureExport | None:
        try:
            found: FeatureExport | None = rows().claim(row.pk)
            return found
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        claimed = [job for job in threads.map(attempt, range(20)) if job is not None]

    assert len(claimed) == 1
    assert (fresh(row).status, fresh(row).attempts, fresh(row).token) == ("processing", 1, claimed[0].token)


def test_a_tenant_has_one_in_hand_also_when_two_are_claimed_at_once(
    alice: Principal, charlie: Principal
) -> None:
    waiting = [make_export(alice) for _ in range(20)]
    other = make_export(charlie)

    def attempt(row: FeatureExport) -> bool:
        try:
            return rows().claim(row.pk) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(attempt, waiting)) == 1
    assert attempt(other)


def test_nothing_is_claimed_that_is_not_there_or_over(alice: Principal) -> None:
    row = make_export(alice)
    assert rows().claim(uuid.uuid4()) is None
    claim(row).complete(**RESULT)

    assert rows().claim(row.pk) is None
    assert fresh(row).attempts == 1


def test_a_lease_that_ran_out_is_anothers_and_the_first_is_fenced_off(alice: Principal) -> None:
    row = make_export(alice)
    first = claim(row)
    assert rows().claim(row.pk) is None
    let_lease_end(row)

    second = claim(row)

    verbs: list[Callable[[], None]] = [
        partial(first.report, 0.5),
        first.lock,
        partial(first.complete, **RESULT),
    ]
    for verb in verbs:
        with pytest.raises(JobTaken), transaction.atomic():
            verb()
    for end in (first.fail, first.release):
        with pytest.raises(JobTaken):
            end("too late")
    assert (fresh(row).status, fresh(row).token, fresh(row).attempts) == ("processing", second.token, 2)
    second.complete(**RESULT)
    assert (fresh(row).status, fresh(row).row_count, fresh(row).error) == ("completed", 1, "")


def test_the_lease_is_kept_while_the_work_goes_on(alice: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=2))  # a busy machine may be late for one
    row = make_export(alice)

    with claim(row).in_hand() as job:
        time.sleep(3)
        assert rows().claim(row.pk) is None
        job.complete(**RESULT)

    assert fresh(row).status == "completed"
    assert not [thread for thread in threading.enumerate() if "_keep_lease" in thread.name]


def test_the_database_lets_no_row_be_in_hand_without_a_lease(alice: Principal) -> None:
    row = make_export(alice)

    for wrong in ({"status": "processing"}, {"lease_until": Now()}, {"status": "done"}, {"progress": 1.5}):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows().filter(pk=row.pk).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows().filter(pk=row.pk).update(status="completed")  # without what it wrote


# Ends


def test_what_is_given_back_is_tried_again_and_fails_in_the_end(alice: Principal) -> None:
    row = make_export(alice)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        claim(row).release("The storage does not answer.")
        expected = "pending" if attempt < MOST_ATTEMPTS else "failed"
        assert (fresh(row).status, fresh(row).error) == (expected, "The storage does not answer.")

    assert fresh(row).completed_at is not None
    assert rows().claim(row.pk) is None


def test_a_cancelled_one_is_no_longer_the_workers(alice: Principal) -> None:
    row = make_export(alice)
    job = claim(row)

    assert rows().cancel(row.pk).status == "cancelled"
    assert rows().cancel(row.pk).status == "cancelled"

    with pytest.raises(JobTaken):
        job.report(0.9)
    assert (fresh(row).status, fresh(row).progress) == ("cancelled", 0.0)


def test_retry_begins_anew_and_only_what_is_over_without_a_result(alice: Principal) -> None:
    row = make_export(alice)
    for status in (JobStatus.PENDING, JobStatus.PROCESSING):
        if status == JobStatus.PROCESSING:
            claim(row)
        with pytest.raises(JobNotRetryable, match=status):
            rows().retry(row.pk)
    job = rows().get(pk=row.pk)
    job.fail("Broken.")

    again = rows().retry(row.pk)

    assert (again.status, again.attempts, again.error, again.started_at) == ("pending", 0, "", None)
    assert woken() == [str(row.pk)]
    claim(row).complete(**RESULT)
    with pytest.raises(JobNotRetryable, match="completed"):
        rows().retry(row.pk)
    with pytest.raises(JobNotCancellable, match="completed"):
        rows().cancel(row.pk)


@pytest.mark.parametrize("how", ["complete", "fail", "cancel", "release"])
def test_whoever_waited_for_it_is_woken_at_its_end(alice: Principal, charlie: Principal, how: str) -> None:
    first, second, third, other = (*(make_export(alice) for _ in range(3)), make_export(charlie))
    age(second, requested_at=timedelta(minutes=2))
    age(third, requested_at=timedelta(minutes=1))
    job = claim(first)
    assert woken() == []

    ends: dict[str, Callable[[], object]] = {
        "complete": partial(job.complete, **RESULT),
        "fail": partial(job.fail, "Broken."),
        "cancel": partial(rows().cancel, first.pk),
        "release": partial(job.release, "The storage does not answer."),
    }
    ends[how]()

    assert woken() == [str(second.pk)]
    assert fresh(other).status == "pending"


# The sweep


def test_the_sweep_wakes_what_was_left_and_what_nobody_answered(alice: Principal, charlie: Principal) -> None:
    left, lost = make_export(alice), make_export(charlie)
    claim(left)
    assert rows().sweep() == 0
    let_lease_end(left)
    age(lost, enqueued_at=timedelta(minutes=2))

    assert rows().sweep() == 2

    assert sorted(woken()) == sorted([str(left.pk), str(lost.pk)])
    assert claim(left).attempts == 2


def test_a_clock_set_back_makes_nobody_wait_for_it_to_catch_up(alice: Principal, charlie: Principal) -> None:
    """The database's, by a day: all that it wrote before lies in the future."""
    day = timedelta(days=-1)
    alive, dead, unheard = make_export(alice), make_export(charlie), make_export(charlie)
    for row in (alive, dead):
        claim(row)
        age(row, lease_until=day)
    age(unheard, enqueued_at=day)
    keeper = fresh(alive)

    assert rows().sweep() == 0
    assert keeper.lease_until is not None
    soon = keeper.lease_until - timedelta(hours=23)
    ends = (fresh(alive).lease_until, fresh(dead).lease_until, fresh(unheard).enqueued_at)
    assert all(end is not None and end < soon for end in ends)
    keeper.report(0.5)  # it lives, and its work stays its own
    let_lease_end(dead)
    age(unheard, enqueued_at=2 * jobs.LEASE)

    assert rows().sweep() == 1
    assert woken() == [str(dead.pk)]
    assert fresh(alive).attempts == 1


def test_the_sweep_wakes_of_a_tenant_only_the_one_whose_turn_it_is(alice: Principal) -> None:
    waiting = [make_export(alice) for _ in range(5)]
    for minutes, row in enumerate(waiting, start=2):
        age(row, enqueued_at=timedelta(minutes=2), requested_at=timedelta(minutes=minutes))

    assert rows().sweep() == 1
    assert woken() == [str(waiting[-1].pk)]  # the oldest
    claim(waiting[-1])
    for row in waiting:
        age(row, enqueued_at=timedelta(minutes=2))
    assert rows().sweep() == 0  # they would be woken to wait


def test_what_the_sweep_wakes_carries_the_request_that_asked_for_it(alice: Principal, tmp_path: Path) -> None:
    with structlog.contextvars.bound_contextvars(request_id="asked-for-it"):
        row = make_export(alice)
    with running_worker(tmp_path) as worker:  # the message, if there was one, is lost
        age(row, enqueued_at=timedelta(minutes=2))
        assert rows().sweep() == 1
        wait_until(lambda: fresh(row).is_over, log=worker.log)

    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    told = {line["event"]: line.get("request_id") for line in lines if line.get("job_id") == str(row.pk)}
    assert told == {"job_started": "asked-for-it", "job_failed": "asked-for-it"}  # it has no rows


def test_a_work_records_what_it_does_under_its_request(alice: Principal) -> None:
    with structlog.contextvars.bound_contextvars(request_id="asked-for-it"):
        row = make_export(alice)

    def work() -> str:
        claim(row)
        audit.record(alice.tenant_id, "written", "export", row.pk)
        return AuditRecord.objects.get(object_id=str(row.pk), verb="written").request_id

    assert contextvars.copy_context().run(work) == "asked-for-it"


def test_what_is_tried_again_is_of_the_request_that_asked_for_that(alice: Principal) -> None:
    with structlog.contextvars.bound_contextvars(request_id="first"):
        row = make_export(alice)
    FeatureExport.objects.cancel(row.pk)

    with structlog.contextvars.bound_contextvars(request_id="second"):
        FeatureExport.objects.retry(row.pk)

    assert fresh(row).request_id == "second"


def test_what_kills_its_worker_again_and_again_has_failed(alice: Principal) -> None:
    row = make_export(alice)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert claim(row).attempts == attempt
        let_lease_end(row)
    assert rows().claim(row.pk) is None

    rows().sweep()

    assert fresh(row).status == "failed"
    assert "died 3 times" in fresh(row).error
    assert woken() == []


# The queue


def test_a_message_is_sent_when_the_row_is_committed_and_not_before(alice: Principal) -> None:
    row = make_export(alice)
    with transaction.atomic():
        row.enqueue()
        assert woken() == []
    assert woken() == [str(row.pk)]

    with transaction.atomic():
        row.enqueue()
        transaction.set_rollback(True)
    assert woken() == []


def test_a_message_is_sent_from_any_thread(alice: Principal) -> None:
    row = make_export(alice)

    def enqueue() -> None:
        row.enqueue()
        connection.close()

    thread = threading.Thread(target=enqueue)
    thread.start()
    thread.join()

    assert woken() == [str(row.pk)]


ENQUEUE = """
import django, sys, time
django.setup()
import omarino.celery  # a server has imported it before it is asked
from features.models import FeatureExport
row = FeatureExport.objects.get(pk=sys.argv[1])
began = time.monotonic()
row.enqueue()
print(time.monotonic() - began)
"""


@pytest.mark.parametrize("broker", ["closed", "silent"])
def test_a_broker_that_is_away_delays_the_work_and_nobody_waits_for_it(alice: Principal, broker: str) -> None:
    row = make_export(alice)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if broker == "silent" else 9
        away = {**servers(), "CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ENQUEUE, str(row.pk)],
            env={**os.environ, **away},
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert done.returncode == 0, done.stderr
    assert "job_not_queued" in done.stderr
    assert float(done.stdout) < 10  # the client of Valkey knocks four times, a second each
    assert fresh(row).status == "pending"
    age(row, enqueued_at=timedelta(minutes=2))
    rows().sweep()
    assert woken() == [str(row.pk)]
