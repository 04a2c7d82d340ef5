"""The files that processes count in, taken from the disk before they are written to.

prometheus-client writes through memory mapped onto files with holes: on a full disk the first write into one ends the
process by SIGBUS, and the process that follows it as well.
"""

from __future__ import annotations

import errno
import mmap
import os
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
        super().__init__(filename, read_mode)

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + KEY_EXTRA > self._capacity:
            self._grow()
        super()._init_value(key)

    def _grow(self) -> None:
        _reserve(self._f.fileno(), 2 * self._capacity)


class CountingDict(ReservedDict):
    """On a full disk the process counts in its own memory, unseen, until it is started again: it has work to do."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            super().__init__(filename, read_mode)
        except OSError as fault:
            _tell(fault)
            self._memory = os.memfd_create("metrics")
            super().__init__(f"/proc/self/fd/{self._memory}")

    def _grow(self) -> None:
        try:
            super()._grow()
        except OSError as fault:
            _tell(fault)
            memory = os.fdopen(os.memfd_create("metrics"), "w+b", buffering=0)
            memory.write(self._m[:])
            self.close()
            self._f, self._m = memory, mmap.mmap(memory.fileno(), self._capacity)


def _reserve(file: int, size_bytes: int) -> None:
    try:
        os.posix_fallocate(file, 0, size_bytes)
    except OSError as fault:
        if fault.errno in NO_ROOM:
            raise


def _tell(fault: OSError) -> None:
    log.error("metrics_not_kept", reason=fault.strerror)


def install() -> None:
    """Before the first metric is made."""
    values.MmapedDict = CountingDict  # type: ignore[attr-defined]
