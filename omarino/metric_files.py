"""The files that processes count in, taken from the disk before they are written to.

prometheus-client writes through memory mapped onto files with holes: on a full disk the first write into one ends the
process by SIGBUS, and the process that follows it as well.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

FIRST_BYTES = 65_536  # as the library makes them
KEY_EXTRA = 4 + 8 + 16  # bytes of a value beside its key: the length, padding, two doubles
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
log = structlog.get_logger(__name__)


class ReservedDict(MmapedDict):
    """A file of counters without holes. Raises OSError when the disk has no room for it."""

    _f: Any
    _m: Any

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            with Path(filename).open("ab") as file:
                if file.tell() == 0:
                    try:
                        _reserve(file.fileno(), FIRST_BYTES)
                    except OSError:
                        Path(filename).unlink()  # an empty one has no word for its reader
                        raise
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + KEY_EXTRA > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        _reserve(self._f.fileno(), 2 * self._capacity)


class CountingDict(ReservedDict):
    """On a full disk the process counts in its own memory, unseen, until it is started again: it has work to do."""

    _in_memory = False

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            super().__init__(filename, read_mode)
        except OSError as fault:
            self._leave_the_disk(fault)
            self._f, self._fname = None, filename
            self._capacity, self._m = FIRST_BYTES, mmap.mmap(-1, FIRST_BYTES)
            self._positions: dict[str, int] = {}
            self._used = 8  # behind the number that says so
            self._m[:4] = struct.pack("i", self._used)

    def _grow(self) -> None:
        if not self._in_memory:
            try:
                return super()._grow()
            except OSError as fault:
                self._leave_the_disk(fault)
        larger = mmap.mmap(-1, 2 * self._capacity)
        larger[: self._used] = self._m[: self._used]
        self._capacity, self._m = 2 * self._capacity, larger
        return None

    def _leave_the_disk(self, fault: OSError) -> None:
        self._in_memory = True
        log.error("metrics_not_kept", reason=fault.strerror)


def _reserve(file: int, size_bytes: int) -> None:
    try:
        os.posix_fallocate(file, 0, size_bytes)
    except OSError as fault:
        if fault.errno in NO_ROOM:
            raise


def install() -> None:
    """Before the first metric is made."""
    values.MmapedDict = CountingDict  # type: ignore[attr-defined]
