"""Counters where files cannot grow: the process goes on and counts for itself."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from django.conf import settings
from prometheus_client.multiprocess import MultiProcessCollector

SCRIPT = textwrap.dedent(
    """
    import json, os, resource, signal, sys
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder, room = sys.argv[1:]
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from omarino import metric_files
    metric_files.install()
    from prometheus_client import Counter
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
    asked = Counter("asked", "Asked.", ["who"])
    for number in range(1000):
        asked.labels(f"somebody with a long name, {number}").inc(number)
    values = [asked.labels(f"somebody with a long name, {number}")._value.get() for number in range(1000)]
    print(json.dumps(values))
    """
)


@pytest.mark.parametrize("room", [0, 70_000], ids=["no file at all", "a first one only"])
def test_a_process_counts_on_in_its_own_memory(tmp_path: Path, room: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), str(room)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=settings.BASE_DIR,
    )

    assert ended.returncode == 0, ended.stderr  # SIGBUS would be -7
    values = json.loads(ended.stdout.splitlines()[-1])
    assert values == [float(number) for number in range(1000)]
    assert "metrics_not_kept" in ended.stdout + ended.stderr
    families = list(MultiProcessCollector(None, path=str(tmp_path)).collect())  # is whole for its reader
    assert bool(families) == bool(room)


def test_a_file_has_no_holes(tmp_path: Path) -> None:
    script = "import sys; from omarino.metric_files import CountingDict as D; D(sys.argv[1]).write_value('a', 1, 0)"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "counter_1.db")],
        check=True,
        cwd=settings.BASE_DIR,
    )

    told = (tmp_path / "counter_1.db").stat()
    assert told.st_blocks * 512 >= told.st_size == 65_536
