"""Files of processes that are gone, added up: each in a folder made by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from omarino.scraping import sweep

KEY = mmap_key("requests", "requests_total", ["route"], ["/health"], "Requests.")
LEAST = mmap_key("took", "took_bucket", ["le"], ["1.0"], "Took.")


@pytest.fixture
def dead() -> int:
    """The number of a process that lived and is over."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def count(folder: Path, name: str, key: str, value: float) -> None:
    file = MmapedDict(str(folder / name))
    file.write_value(key, value, 0.0)
    file.close()


def counted(folder: Path) -> dict[str, float]:
    families = MultiProcessCollector(None, path=str(folder)).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_what_the_dead_counted_is_kept_in_one_file_of_each_kind(tmp_path: Path, dead: int) -> None:
    count(tmp_path, f"counter_{dead}.db", KEY, 5)
    count(tmp_path, f"histogram_{dead}.db", LEAST, 2)
    count(tmp_path, f"counter_{os.getpid()}.db", KEY, 3)
    before = counted(tmp_path)

    assert sweep(tmp_path) == 2

    names = {file.name for file in tmp_path.glob("*.db")}
    assert names == {"counter_0.db", "histogram_0.db", f"counter_{os.getpid()}.db"}
    assert counted(tmp_path) == before
    assert before["requests_total"] == 8
    assert sweep(tmp_path) == 0

    count(tmp_path, f"counter_{dead}.db", KEY, 10)  # another one that ends later
    sweep(tmp_path)
    assert counted(tmp_path)["requests_total"] == 18


def test_a_file_without_a_word_in_it_harms_nobody(tmp_path: Path, dead: int) -> None:
    (tmp_path / f"counter_{dead}.db").touch()

    assert sweep(tmp_path) == 1

    assert counted(tmp_path) == {}


def test_somebody_who_reads_puts_it_off(tmp_path: Path, dead: int) -> None:
    count(tmp_path, f"counter_{dead}.db", KEY, 5)
    reads = "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_SH); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", reads, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        assert sweep(tmp_path) == 0
        reader.communicate(b"\n")

    assert sweep(tmp_path) == 1
