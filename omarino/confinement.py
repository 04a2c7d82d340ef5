"""What a process takes from itself before it opens what may be hostile: time, memory, files, network, other programs."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWIPC = 0x40000000, 0x10000000, 0x08000000
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_ALLOW, SECCOMP_ERRNO = 0x7FFF0000, 0x00050000
SECCOMP_SET_MODE_FILTER, SECCOMP_OF_ALL_THREADS = 1, 1
CLONE_THREAD = 0x00010000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Calls:
    """Numbers of the kernel's calls on one kind of processor."""

    architecture: int
    refused: tuple[
        int, ...
    ]  # sockets, other programs, signals, looking into processes, changing files, rings
    clone: int  # taken for threads only
    opening: dict[int, int]  # call that opens a file: position of its flags; taken for reading only
    filtering: int  # the call that takes a filter for all threads
    absent: tuple[int, ...] = (435, 437)  # clone3 and openat2, whose flags a filter cannot see


CALLS = {
    "x86_64": Calls(
        0xC000003E,
        (
            *(
                41,
                42,
                43,
                44,
                46,
                49,
                50,
                53,
                57,
                58,
                59,
                62,
                101,
                200,
                234,
                304,
                310,
                311,
                322,
                425,
                426,
                427,
                434,
                438,
            ),
            *(76, 82, 83, 84, 85, 86, 87, 88, 90, 92, 94, 133, 258, 259, 260, 263, 264, 265, 266, 268, 316),
        ),
        56,
        {2: 1, 257: 2},
        317,
    ),
    "aarch64": Calls(
        0xC00000B7,
        (
            *(
                117,
                129,
                130,
                131,
                198,
                199,
                200,
                201,
                202,
                203,
                206,
                211,
                221,
                265,
                270,
                271,
                281,
                425,
                426,
                427,
            ),
            *(434, 438),
            *(33, 34, 35, 36, 37, 38, 45, 53, 54, 276),
        ),
        220,
        {56: 2},
        277,
    ),
}


def limit_yourself(*, seconds: int | None, memory_mb: int) -> list[str]:
    """Take from this process what a hostile file could use. Gives the names of the limits that hold. Without
    `seconds` its processor time is its own to limit."""
    with suppress(OSError):  # when a machine's memory ends, this process goes and not who waits for it
        Path("/proc/self/oom_score_adj").write_text("1000")
    for name, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_mb * 1_048_576),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        if most is not None:
            resource.setrlimit(name, (most, most))
    held = ["limits"]
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET | CLONE_NEWIPC
    if libc.unshare(flags) == 0 or libc.unshare(flags | CLONE_NEWUSER) == 0:
        held.append("namespace")
    calls = CALLS.get(platform.machine())
    if calls is not None and _take_filter(libc, calls, _filter_program(calls)):
        held.append("seccomp")
    return held


def close_files() -> bool:
    """From now on no thread of this process opens a file, not even to read. False where that cannot be had.

    For code that came with an artifact: what it answers leaves the process, and with it whatever it could read.
    """
    calls = CALLS.get(platform.machine())
    return calls is not None and _take_filter(
        ctypes.CDLL(None, use_errno=True), calls, _closing_program(calls)
    )


def _take_filter(libc: Any, calls: Calls, program: list[tuple[int, int, int, int]]) -> bool:
    """Refuse calls by a filter of the kernel, which needs no privilege. False where it cannot."""
    packed = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("HxxxxxxQ", len(packed) // 8, ctypes.addressof(buffer))
    asked = ctypes.create_string_buffer(head, len(head))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(calls.filtering, SECCOMP_SET_MODE_FILTER, SECCOMP_OF_ALL_THREADS, asked) == 0)


def _closing_program(calls: Calls) -> list[tuple[int, int, int, int]]:
    program = [(0x20, 0, 0, 0)]
    for call in calls.opening:
        program += [(0x15, 0, 1, call), (0x06, 0, 0, SECCOMP_ERRNO | errno.EPERM)]
    return [*program, (0x06, 0, 0, SECCOMP_ALLOW)]


def _filter_program(calls: Calls) -> list[tuple[int, int, int, int]]:
    """The filter in the kernel's little language: (instruction, steps if so, steps if not, number)."""
    load, if_equal, if_least, if_any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    refuse, absent = (SECCOMP_ERRNO | number for number in (errno.EPERM, errno.ENOSYS))
    number_at, architecture_at, arguments_at = 0, 4, 16
    program = [
        (load, 0, 0, architecture_at),
        (if_equal, 1, 0, calls.architecture),
        (give, 0, 0, refuse),
        (load, 0, 0, number_at),
        (if_least, 0, 1, 0x40000000),  # x32: the same calls by other numbers
        (give, 0, 0, refuse),
    ]
    for call in calls.refused:
        program += [(if_equal, 0, 1, call), (give, 0, 0, refuse)]
    for call in calls.absent:
        program += [(if_equal, 0, 1, call), (give, 0, 0, absent)]
    program += [
        (if_equal, 0, 4, calls.clone),
        (load, 0, 0, arguments_at),
        (if_any_bit, 1, 0, CLONE_THREAD),
        (give, 0, 0, refuse),
        (give, 0, 0, SECCOMP_ALLOW),
    ]
    for call, position in calls.opening.items():
        program += [
            (if_equal, 0, 4, call),
            (load, 0, 0, arguments_at + 8 * position),
            (if_any_bit, 0, 1, WRITING),
            (give, 0, 0, refuse),
            (give, 0, 0, SECCOMP_ALLOW),
        ]
    return [*program, (give, 0, 0, SECCOMP_ALLOW)]
