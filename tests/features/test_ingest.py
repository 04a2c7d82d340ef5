"""All or nothing, once, and in any company."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.batches import Outcome, ReadingBatch, Rejections
from features.errors import AssetInvalid, FileUnreadable
from features.ingest import store_readings
from features.models import Asset, Reading

HOUR_US = 3_600_000_000


def batch(hours: list[int], values: list[float], metric: str = "value") -> ReadingBatch:
    rows = np.arange(1, len(hours) + 1)
    return ReadingBatch(
        metric, rows, np.array(hours, dtype=np.int64) * HOUR_US, np.array(values, dtype=float)
    )


def store(*batches: ReadingBatch, tenant: str = "alpha", asset: str = "main-meter") -> Outcome:
    return store_readings(tenant_id=tenant, asset_id=asset, batches=batches, rejections=Rejections())


def stored() -> dict[tuple[str, int], float]:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    rows = Reading.objects.for_tenant("alpha")
    return {(row.metric, int((row.timestamp - epoch).total_seconds()) // 3600): row.value for row in rows}


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    imports=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["value", "price"]), st.integers(0, 6), st.sampled_from([1.0, 2.0, 3.0])
            ),
            min_size=1,
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_imports_leave_what_writing_their_rows_one_by_one_would(
    imports: list[list[tuple[str, int, float]]],
) -> None:
    Reading.objects.all().delete()
    expected: dict[tuple[str, int], float] = {}
    for rows in imports:
        outcome = store(
            *(
                ReadingBatch(metric, np.array([row]), np.array([hour * HOUR_US]), np.array([value]))
                for row, (metric, hour, value) in enumerate(rows, 1)
            )
        )
        last = {(metric, hour): value for metric, hour, value in rows}
        assert outcome.accepted == len(last.keys() - expected.keys())
        assert outcome.updated == sum(expected.get(key, value) != value for key, value in last.items())
        assert outcome.unchanged == sum(expected.get(key) == value for key, value in last.items())
        assert outcome.duplicates == len(rows) - len(last)
        expected |= last
    assert stored() == expected


@pytest.mark.django_db
def test_two_imports_in_one_transaction_do_not_mix() -> None:
    store(batch([0, 1], [1.0, 2.0]))
    outcome = store(batch([2], [3.0]))

    assert (outcome.accepted, outcome.unchanged) == (1, 0)


@pytest.mark.django_db
def test_a_source_that_fails_midway_leaves_nothing() -> None:
    def source() -> Iterator[ReadingBatch]:
        yield batch([0, 1], [1.0, 2.0])
        raise FileUnreadable(name="meter.csv", reason="the disk is gone")

    with pytest.raises(FileUnreadable):
        store_readings(tenant_id="alpha", asset_id="a", batches=source(), rejections=Rejections())

    assert not Reading.objects.exists()
    assert not Asset.objects.exists()


@pytest.mark.django_db
def test_nothing_to_store_makes_no_asset() -> None:
    assert store().taken == 0
    assert not Asset.objects.exists()


@pytest.mark.django_db
def test_an_asset_id_that_could_be_a_path_is_refused() -> None:
    with pytest.raises(AssetInvalid, match="letters, digits"):
        store(batch([0], [1.0]), asset="../../etc")


@pytest.mark.django_db
def test_the_interval_is_taken_from_the_first_import_and_kept() -> None:
    store(batch([0, 1, 2, 9], [1.0] * 4))
    store(batch([0, 24, 48], [1.0] * 3))

    assert Asset.objects.get().interval_minutes == 60


def in_threads(work: list[tuple[ReadingBatch, ...]]) -> list[Outcome]:
    """Each set of batches stored by a thread of its own, all begun at once."""
    barrier = threading.Barrier(len(work))
    outcomes: list[Outcome] = []

    def run(batches: tuple[ReadingBatch, ...]) -> None:
        try:
            barrier.wait()
            outcomes.append(store(*batches))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(batches,)) for batches in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_imports_of_the_same_rows_at_once_store_them_once() -> None:
    hours = list(range(2000))
    outcomes = in_threads([(batch(hours, [1.0] * 2000),)] * 4)

    assert sorted(outcome.accepted for outcome in outcomes) == [0, 0, 0, 2000]
    assert sum(outcome.unchanged for outcome in outcomes) == 6000
    assert Reading.objects.count() == 2000
    assert Asset.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_imports_in_opposite_order_do_not_block_each_other_for_ever() -> None:
    upwards = tuple(batch([hour], [1.0]) for hour in range(300))
    downwards = tuple(batch([hour], [2.0]) for hour in reversed(range(300)))

    outcomes = in_threads([upwards, downwards] * 3)

    assert len(outcomes) == 6
    assert Reading.objects.count() == 300


SLOW_IMPORT = """
import sys, time
import django
django.setup()
import numpy as np
from features.batches import ReadingBatch, Rejections
from features.ingest import store_readings

def source():
    for block in range(10_000):
        times = (block * 10_000 + np.arange(10_000)) * 1_000_000
        yield ReadingBatch("value", np.arange(10_000), times, np.ones(10_000))
        if block == 20:
            print("in the middle", flush=True)
            time.sleep(60)

store_readings(tenant_id="alpha", asset_id="main-meter", batches=source(), rejections=Rejections())
"""


@pytest.mark.django_db(transaction=True)
def test_an_import_killed_midway_leaves_nothing_and_can_be_run_again() -> None:
    database = connection.settings_dict
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "omarino.settings",
        "PYTHONPATH": str(settings.BASE_DIR),
    }
    importing = subprocess.Popen(
        [sys.executable, "-c", SLOW_IMPORT],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=Path(settings.BASE_DIR),
    )
    try:
        assert importing.stdout is not None
        assert importing.stdout.readline() == b"in the middle\n"
    finally:
        importing.send_signal(signal.SIGKILL)
        importing.wait()
        importing.stdout.close()  # type: ignore[union-attr]
    deadline = time.monotonic() + 20  # the server notices that its client is gone
    while _sessions_in_transaction() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not Reading.objects.exists()
    assert not Asset.objects.exists()
    assert store(batch([0], [1.0])).accepted == 1


def _sessions_in_transaction() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )
        return int(cursor.fetchone()[0])
