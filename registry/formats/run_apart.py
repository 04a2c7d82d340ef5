"""What runs in the process of one model: import what runs it, give up files and network, load it, answer.

Started by `registry.formats.runner`; its standard input is a socket, on which each message is two lengths, JSON, numbers.
"""

from __future__ import annotations

import json
import os
import resource
import time
from typing import Any

from omarino.confinement import close_files, limit_yourself

FAULTS = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError),
    *(AssertionError, ImportError, OSError, EOFError, SyntaxError),
)


def main(name: str, declared: str, seconds: str, memory_mb: str) -> None:
    from registry.formats import FORMATS, Declared, open_here
    from registry.formats.base import ArtifactRefused
    from registry.formats.runner import HEAD

    def read(size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            part = os.read(0, min(size - len(got), 1_048_576))
            if not part:
                os._exit(0)  # nobody asks any more
            got += part
        return bytes(got)

    def receive() -> tuple[dict[str, Any], bytes]:
        text, numbers = HEAD.unpack(read(HEAD.size))
        return json.loads(read(text)), read(numbers)

    def give(said: dict[str, Any], numbers: bytes = b"") -> None:
        head = json.dumps(said, default=str).encode()
        waiting = memoryview(HEAD.pack(len(head), len(numbers)) + head + numbers)
        while waiting:
            waiting = waiting[os.write(0, waiting) :]

    _, content = receive()
    held = limit_yourself(seconds=None, memory_mb=int(memory_mb))
    FORMATS[name].prepare()  # and whatever that imports, while files can be opened
    if "seccomp" not in held or not close_files():
        give({"not_confined": True})
        return
    _allow(int(seconds))
    try:
        predictor = open_here(name, content, Declared.from_dict(json.loads(declared)))
    except ArtifactRefused as refusal:
        give({"refused": refusal.facts["reason"]})
        return
    except FAULTS as fault:
        give({"refused": f"loading it failed ({type(fault).__name__}: {str(fault)[:200]})."})
        return
    del content
    give({"feature_count": predictor.feature_count})
    while True:
        asked, numbers = receive()
        _allow(int(seconds))
        try:
            give({}, _answer(predictor, asked["rows"], numbers))
        except FAULTS as fault:
            give({"fault": f"{type(fault).__name__}: {_ends_of(str(fault))}"})


def _ends_of(text: str) -> str:
    """PyTorch tells the cause last, others first."""
    return text if len(text) <= 240 else f"{text[:80]} ... {text[-150:].strip()}"


def _answer(predictor: Any, count: int, numbers: bytes) -> bytes:
    import numpy as np

    prediction = predictor.predict(np.frombuffer(numbers, dtype="<f8").reshape(count, -1).copy())
    table = prediction.values if prediction.probabilities is None else prediction.probabilities
    return np.ascontiguousarray(table, dtype="<f8").tobytes()


def _allow(seconds: int) -> None:
    """So much processor time from now on: a loop without an end ends even when nobody waits for it any more."""
    resource.setrlimit(
        resource.RLIMIT_CPU,
        (int(time.process_time()) + seconds + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]),
    )
