"""What runs in the process that is thrown away: limit yourself, open the artifact, try it, say what it is.

Started by `registry.quarantine`; the artifact is standard input, the answer one line of JSON on standard output.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWIPC = 0x40000000, 0x10000000, 0x08000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_ALLOW, SECCOMP_ERRNO = 0x7FFF0000, 0x00050000
# Numbers of the calls that are refused: sockets, other programs, looking into processes, rings that do both.
REFUSED_CALLS = {
    "x86_64": (
        0xC000003E,
        (41, 42, 43, 49, 50, 53, 57, 58, 59, 62, 101, 200, 234, 310, 311, 322, 425, 426, 427),
    ),
    "aarch64": (
        0xC00000B7,
        (117, 129, 130, 131, 198, 199, 200, 201, 202, 203, 221, 270, 271, 281, 425, 426, 427),
    ),
}


def limit_yourself(*, seconds: int, memory_mb: int) -> list[str]:
    """Take from this process what a hostile file could use. Gives the names of the limits that hold."""
    for name, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_mb * 1_048_576),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(name, (most, most))
    held = ["limits"]
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET | CLONE_NEWIPC
    if libc.unshare(flags) == 0 or libc.unshare(flags | CLONE_NEWUSER) == 0:
        held.append("namespace")
    if _filter_calls(libc):
        held.append("seccomp")
    return held


def _filter_calls(libc: Any) -> bool:
    """Refuse calls by a filter of the kernel, which needs no privilege. False where it cannot."""
    if platform.machine() not in REFUSED_CALLS:
        return False
    architecture, calls = REFUSED_CALLS[platform.machine()]
    load, jump_if_equal, jump_if_least, give = 0x20, 0x15, 0x35, 0x06
    refuse = SECCOMP_ERRNO | errno.EPERM
    program = [(load, 0, 0, 4), (jump_if_equal, 1, 0, architecture), (give, 0, 0, refuse), (load, 0, 0, 0)]
    program += [(jump_if_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]  # x32: the same calls, other numbers
    for call in calls:
        program += [(jump_if_equal, 0, 1, call), (give, 0, 0, refuse)]
    program.append((give, 0, 0, SECCOMP_ALLOW))
    packed = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    asked = ctypes.create_string_buffer(head, len(head))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, asked, 0, 0) == 0)


def portrait_of(content: bytes) -> dict[str, Any]:
    """Find the format, load the model, try it on rows that a model should survive. Raises ArtifactRefused."""
    import numpy as np

    from registry.formats import FORMATS, load, sniff
    from registry.formats.base import ArtifactRefused, Portrait

    name = sniff(content)
    if not FORMATS[name].is_served:
        return Portrait(format=name, extra=FORMATS[name].extra).as_dict()
    FORMATS[name].prepare()  # imported, so that what it grows below is the model alone
    before = _resident_bytes()
    predictor = load(name, content)
    count = predictor.feature_count
    ordinary = np.vstack([np.zeros(count), np.ones(count), np.full(count, -1e6), np.full(count, 1e6)])
    try:
        tried = predictor.predict(ordinary)
        if predictor.additive:
            predictor.contributions(ordinary[:2])
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as fault:
        raise ArtifactRefused(
            reason=f"it loads but cannot predict ({type(fault).__name__}: {str(fault)[:200]})."
        ) from fault
    if len(tried.values) != len(ordinary):
        raise ArtifactRefused(reason="it does not answer one value a row.")
    return Portrait(
        format=name,
        task=predictor.task,
        feature_names=list(predictor.feature_names),
        feature_count=count,
        class_labels=list(predictor.class_labels),
        takes_missing=_takes_missing(predictor, count),
        additive=predictor.additive,
        memory_bytes=max(_resident_bytes() - before, len(content)),
    ).as_dict()


def _takes_missing(predictor: Any, count: int) -> bool:
    import numpy as np

    try:
        values = predictor.predict(np.full((1, count), np.nan)).values
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return False
    return bool(values.dtype.kind != "f" or np.isfinite(values).all())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(seconds: str, memory_mb: str) -> None:
    content = sys.stdin.buffer.read()
    answer_to = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    held = limit_yourself(seconds=int(seconds), memory_mb=int(memory_mb))
    from registry.formats.base import ArtifactRefused

    try:
        answer: dict[str, Any] = {"portrait": portrait_of(content), "held": held}
    except ArtifactRefused as refusal:
        answer = {"code": refusal.code, "reason": refusal.facts["reason"], "held": held}
    except MemoryError:
        answer = {"code": "artifact_refused", "reason": "opening it needs too much memory.", "held": held}
    os.write(answer_to, json.dumps(answer, default=str).encode())
    os._exit(0)  # no library's farewell


if __name__ == "__main__":
    main(*sys.argv[1:])
