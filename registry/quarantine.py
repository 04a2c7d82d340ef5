"""Every artifact is first opened in a process that is thrown away: whatever it does there, it does to that."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from omarino.errors import Outage
from registry.formats.base import NOTHING, ArtifactRefused, Declared, PickleRefused, Portrait
from registry.formats.runner import ENVIRONMENT, ROOT

RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from registry.formats.opened_apart import main; main(*sys.argv[1:])"
START_S = 30.0  # a new process that imports what models need, on a busy machine
MAX_ANSWER_BYTES = 4_194_304
AT_ONCE = threading.Semaphore(
    2
)  # of this process: more would only take its memory, and its threads from others
WAIT_S = 10.0
REFUSALS = {refusal.code: refusal for refusal in (ArtifactRefused, PickleRefused)}


class InspectionBusy(Outage):
    code = "inspection_busy"
    detail = "Other artifacts are being opened at this moment. Nothing was changed; send it again shortly."


def open_apart(
    path: Path, *, seconds: int, memory_mb: int, declared: Declared = NOTHING
) -> tuple[Portrait, list[str]]:
    """What the artifact at `path` is, and the limits that held. Raises ArtifactRefused with the
    reason, InspectionBusy when too many wait.

    A new interpreter (nothing of ours is in its memory) with an empty environment, limits of processor time,
    memory and files, no network and no other programs; the limits that this machine refuses are not in the list.
    """
    said = json.dumps(declared.as_dict())
    command = [sys.executable, "-I", "-B", "-c", RUN, ROOT, str(seconds), str(memory_mb), said]
    if not AT_ONCE.acquire(timeout=WAIT_S):
        raise InspectionBusy()
    try:
        with path.open("rb") as artifact:
            ended = subprocess.run(
                command,
                stdin=artifact,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries may say much, and this process would have to hold it
                env=ENVIRONMENT,
                cwd="/",
                timeout=seconds + START_S,
            )
    except subprocess.TimeoutExpired:
        raise ArtifactRefused(reason=f"opening it took longer than {seconds} s.") from None
    finally:
        AT_ONCE.release()
    if ended.returncode < 0:
        raise ArtifactRefused(reason=_death(-ended.returncode, seconds))
    answer = _answer(ended)
    if "portrait" not in answer:
        raise REFUSALS[answer["code"]](reason=answer["reason"])
    return Portrait(**answer["portrait"]), answer["held"]


def _answer(ended: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    if not ended.stdout or len(ended.stdout) > MAX_ANSWER_BYTES:
        raise ArtifactRefused(reason="the process that opened it ended without an answer.")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def _death(signum: int, seconds: int) -> str:
    if signum in (signal.SIGXCPU, signal.SIGKILL):
        return f"opening it took more than {seconds} s of processor time or more memory than there is."
    name = signal.Signals(signum).name if signum in set(signal.Signals) else f"signal {signum}"
    return f"the process that opened it was ended by {name}: the file is damaged or hostile."
