"""Whatever is uploaded: a 4xx with the reason, nothing executed, nothing kept, and the service goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from omarino.authentication import Principal
from registry.formats import load, sniff
from registry.formats.base import ArtifactRefused, PickleRefused
from registry.formats.runner import ROOT
from registry.models import ModelVersion
from registry.quarantine import InspectionBusy, open_apart
from tests.conftest import ClientOf
from tests.registry import models_made
from tests.registry.hostile import LIGHTGBM, OTHERS, PICKLES, Made
from tests.registry.test_register import body_of

ISOLATION = """
import json, os, socket, sys
sys.path.insert(0, {root!r})
from omarino.confinement import limit_yourself
held = limit_yourself(seconds=5, memory_mb=1024)
tried = {{}}
def attempt(name, do):
    try:
        do()
        tried[name] = "worked"
    except (OSError, MemoryError) as fault:
        tried[name] = type(fault).__name__
attempt("socket", lambda: socket.create_connection(("127.0.0.1", {port})))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("program", lambda: os.execv("/bin/true", ["/bin/true"]))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("removal", lambda: os.unlink({kept!r}))
attempt("signal", lambda: os.kill({pid}, 0))
attempt("file", lambda: open({file!r}, "w").write("x" * 10))
attempt("memory", lambda: bytearray(2_000_000_000))
print(json.dumps([held, tried]))
"""


CLOSED = """
import json, sys, threading
sys.path.insert(0, {root!r})
from pathlib import Path
from omarino.confinement import close_files, limit_yourself
def read():
    try:
        return Path({secret!r}).read_text()
    except OSError as fault:
        return type(fault).__name__
closed, said = threading.Event(), []
earlier = threading.Thread(target=lambda: (closed.wait(), said.append(read())))
earlier.start()
limit_yourself(seconds=None, memory_mb=1024)
before = read()
did = close_files()
closed.set()
earlier.join()
print(json.dumps([did, before, read(), said[0]]))
"""


@pytest.mark.parametrize("made", PICKLES.values(), ids=PICKLES)
def test_a_pickle_is_refused_with_the_way_to_convert_it(made: Made, tmp_path: Path) -> None:
    proof, artifact = tmp_path / "proof", tmp_path / "artifact"
    artifact.write_bytes(made(proof))

    with pytest.raises(PickleRefused, match=r"skops\.io\.dump\("):
        open_apart(artifact, seconds=20, memory_mb=2048)

    assert not proof.exists()


@pytest.mark.parametrize("made", LIGHTGBM.values(), ids=LIGHTGBM)
def test_a_damaged_or_edited_booster_never_reaches_lightgbm(made: Made, tmp_path: Path) -> None:
    content = made(tmp_path / "proof")
    assert sniff(content) == "lightgbm"

    with pytest.raises(ArtifactRefused):
        load("lightgbm", content)


@pytest.mark.parametrize("made", OTHERS.values(), ids=OTHERS)
def test_other_harm_is_refused_with_its_reason(made: Made, tmp_path: Path) -> None:
    proof, artifact = tmp_path / "proof", tmp_path / "artifact"
    artifact.write_bytes(made(proof))

    with pytest.raises(ArtifactRefused) as refusal:
        open_apart(artifact, seconds=30, memory_mb=4096)

    assert len(str(refusal.value)) > len("The artifact was refused: .")
    assert not proof.exists()
    assert not Path("/tmp/climbed").exists()  # noqa: S108  what the file asks for


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["protocol 4", "joblib zlib", "in a zip"])
def test_the_api_refuses_a_pickle_and_keeps_nothing(
    alice: Principal, client_of: ClientOf, folder: Path, tmp_path: Path, kind: str
) -> None:
    response = client_of(alice).post("/ai/models/register", body_of(PICKLES[kind](tmp_path / "proof")))

    assert (response.status_code, response.json()["code"]) == (422, "pickle_refused")
    assert "skops.io.dump(" in response.json()["detail"]
    assert not (tmp_path / "proof").exists()
    assert not ModelVersion.objects.exists()
    assert not folder.exists()


def test_the_process_apart_can_do_no_harm(tmp_path: Path) -> None:
    """No network, no other program, no file, no signal, no more memory than it may have."""
    kept, written = tmp_path / "kept", tmp_path / "written"
    kept.touch()
    script = ISOLATION.format(root=ROOT, port=80, pid=os.getpid(), file=str(written), kept=str(kept))

    ended = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60)

    held, tried = json.loads(ended.stdout)
    assert {"limits", "seccomp"} <= set(held)
    assert {name: what for name, what in tried.items() if what == "worked"} == {}
    assert tried["memory"] == "MemoryError"
    assert (kept.exists(), written.exists()) == (True, False)


def test_code_of_an_artifact_can_read_no_file(tmp_path: Path) -> None:
    """What it answers leaves the process. A thread that was there before is held as well."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    script = CLOSED.format(root=ROOT, secret=str(secret))

    ended = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60)

    assert json.loads(ended.stdout) == [True, "x", "PermissionError", "PermissionError"]


def test_a_process_that_dies_is_a_refusal_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hole in a library would do: the process ends by a signal."""
    artifact = tmp_path / "artifact"
    artifact.write_bytes(models_made.lightgbm_text())
    monkeypatch.setattr("registry.quarantine.RUN", "import os; os.kill(os.getpid(), 6)")

    with pytest.raises(ArtifactRefused, match=signal.Signals.SIGABRT.name):
        open_apart(artifact, seconds=20, memory_mb=2048)


def test_a_process_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"x")
    spin = "import sys; sys.path.insert(0, sys.argv[1]); from omarino.confinement import limit_yourself; "
    monkeypatch.setattr(
        "registry.quarantine.RUN", spin + "limit_yourself(seconds=1, memory_mb=1024)\nwhile True: pass"
    )

    with pytest.raises(ArtifactRefused, match="processor time"):
        open_apart(artifact, seconds=1, memory_mb=2048)


def test_too_little_memory_is_a_refusal(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(ArtifactRefused):
        open_apart(artifact, seconds=20, memory_mb=64)


def test_whatever_is_cut_anywhere_is_refused_or_whole() -> None:
    """Every tenth of the file: no cut passes for a model."""
    text: Any = models_made.lightgbm_text()
    for end in range(30, text.find(b"end of trees"), len(text) // 40):
        with pytest.raises(ArtifactRefused):
            load("lightgbm", text[:end])


def test_who_waits_too_long_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"x")
    monkeypatch.setattr("registry.quarantine.AT_ONCE", threading.Semaphore(0))
    monkeypatch.setattr("registry.quarantine.WAIT_S", 0.01)

    with pytest.raises(InspectionBusy):
        open_apart(artifact, seconds=1, memory_mb=512)


def test_what_no_reader_foresaw_is_a_refusal_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"x")
    run = "import sys; sys.path.insert(0, sys.argv.pop(1)); import registry.formats.opened_apart as apart\n"
    monkeypatch.setattr("registry.quarantine.RUN", run + "apart.portrait_of = len\napart.main('5', 'x')")
    with pytest.raises(ArtifactRefused, match="without an answer"):
        open_apart(artifact, seconds=5, memory_mb=512)

    fails = (
        run + "def fail(*told): raise LookupError('odd')\napart.portrait_of = fail\napart.main(*sys.argv[1:])"
    )
    monkeypatch.setattr("registry.quarantine.RUN", fails)
    with pytest.raises(ArtifactRefused, match="LookupError: odd"):
        open_apart(artifact, seconds=5, memory_mb=512)
