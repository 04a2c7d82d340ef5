"""Texts as instants: ISO 8601 or a given format, in UTC or by a clock that is put forward and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import TimestampFormatInvalid, UnknownTimeZone
from omarino.epoch import to_us

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EARLIEST_US = 0  # 1970
LATEST_US = 7_258_118_400_000_000  # 2200
_HALF_A_DAY_US = 43_200_000_000
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?: ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?)?"
)


@dataclass(frozen=True, slots=True)
class Written:
    """Times as they were written.

    us: microseconds since 1970 by the clock they were written by, which is UTC where `zoned`; shape (n,).
    problems: reasons by position.
    """

    us: Ints
    zoned: Bools
    problems: dict[int, str]


class Times:
    """Instants of some rows, and what is wrong with the others.

    us: microseconds since 1970, shape (n,); meaningless where `problems` has the position.
    problems: reasons by position.
    """

    def __init__(self, us: Ints, problems: dict[int, str]) -> None:
        self.us = us
        self.problems = problems
        for index in np.nonzero((us < EARLIEST_US) | (us >= LATEST_US))[0].tolist():
            problems.setdefault(index, "the timestamp is outside 1970..2199")


class Clock:
    """Reads local times of a zone, in the order of the rows.

    The hour that autumn repeats is told apart by that order: times first rise through summer time and,
    where they step back, are standard time from there on (the other way round where rows run from new to
    old). The state is kept between calls, per series, as an overlap may span two blocks of a file.

    >>> clock = Clock("Europe/Berlin")
    >>> texts = pa.array(["2025-10-26 01:30", "2025-10-26 02:30", "2025-10-26 02:30", "2025-10-26 03:30"])
    >>> [str(time)[11:16] for time in clock.read(parse_iso(texts)).us.astype("datetime64[us]")]
    ['23:30', '00:30', '01:30', '02:30']
    """

    def __init__(self, timezone: str = "UTC") -> None:
        self.timezone = timezone
        self._newest_first: bool | None = None
        self._overlaps: dict[str, tuple[int, bool]] = {}
        try:
            pc.assume_timezone(pa.array([0], pa.timestamp("us")), timezone)
        except pa.ArrowInvalid as fault:
            raise UnknownTimeZone(timezone=timezone) from fault

    def read(self, written: Written, series: Sequence[str] | None = None) -> Times:
        """Instants of what was written; `series` says which rows belong together, one for all when None."""
        us, problems = written.us.copy(), dict(written.problems)
        local = np.nonzero(~written.zoned)[0]
        if local.size and self.timezone != "UTC":
            names = None if series is None else [series[index] for index in local]
            us[local], missing = self._to_utc(written.us[local], names)
            for index in local[missing].tolist():
                wall = str(written.us[index].astype("datetime64[us]").astype("datetime64[s]"))
                reason = (
                    f"{wall.replace('T', ' ')} does not exist in {self.timezone}: clocks are put forward then"
                )
                problems.setdefault(index, reason)
        return Times(us, problems)

    def _to_utc(self, wall_us: Ints, series: list[str] | None) -> tuple[Ints, Bools]:
        wall = pa.array(wall_us).cast(pa.timestamp("us"))
        first, second = (
            pc.assume_timezone(wall, self.timezone, ambiguous=which, nonexistent=which)
            for which in ("earliest", "latest")
        )
        missing = pc.not_equal(pc.local_timestamp(second), wall).to_numpy(zero_copy_only=False)
        early, late = (instants.cast(pa.int64()).to_numpy() for instants in (first, second))
        if self._newest_first is None and wall_us.size > 1:
            steps = np.diff(wall_us)
            self._newest_first = bool((steps < 0).sum() > (steps > 0).sum())
        us = early.copy()
        for index in np.nonzero((early != late) & ~missing)[0].tolist():
            if self._is_second(int(wall_us[index]), "" if series is None else series[index]):
                us[index] = late[index]
        return us, missing

    def _is_second(self, wall_us: int, series: str) -> bool:
        newest_first = bool(self._newest_first)
        last, turned = self._overlaps.get(series, (None, False))
        if last is None or abs(wall_us - last) > _HALF_A_DAY_US:
            turned = False  # another year's overlap
        elif wall_us == last or (wall_us > last) == newest_first:
            turned = True
        self._overlaps[series] = (wall_us, turned)
        return turned != newest_first


def parse_iso(texts: pa.StringArray) -> Written:
    """ISO 8601 texts with a date, shape (n,). Nothing is guessed: 01/02/2025 is a problem, not a day.

    >>> parse_iso(pa.array(["1970-01-01 00:00:01", "1970-01-01T01:00:00+01:00"])).us.tolist()
    [1000000, 0]
    >>> parse_iso(pa.array(["01.02.2025 10:00"])).problems
    {0: "'01.02.2025 10:00' is not an ISO 8601 timestamp"}
    """
    for kind, zoned in ((pa.timestamp("us"), False), (pa.timestamp("us", "UTC"), True)):
        try:
            us = texts.cast(kind).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        if us.null_count == 0:
            return Written(us.to_numpy(), np.full(len(texts), zoned), {})
    return _parse_each(texts, _read_iso, "is not an ISO 8601 timestamp")


def parse_format(texts: pa.StringArray, format: str) -> Written:
    """Texts in a format of `strptime`.

    >>> parse_format(pa.array(["01.02.1970 00:00", "31.02.1970 00:00"]), "%d.%m.%Y %H:%M").problems
    {1: "'31.02.1970 00:00' is not a timestamp of the format %d.%m.%Y %H:%M"}
    """
    try:
        _read_format(datetime(2001, 2, 3, 4, 5, tzinfo=UTC).strftime(format), format)
    except (ValueError, re.error) as fault:
        raise TimestampFormatInvalid(format=format, reason=str(fault)) from fault
    if not re.search("%[Yy]", format):
        raise TimestampFormatInvalid(format=format, reason="it names no year")
    if not re.search("%[zZfpyj]", format):
        # Arrow's strptime rolls 31 February over; what it read must read back as it was written.
        read = pc.strptime(texts, format=format, unit="us", error_is_null=True)
        if read.null_count == 0 and pc.all(
            pc.equal(pc.strftime(read.cast(pa.timestamp("s")), format=format), texts)
        ):
            return Written(read.cast(pa.int64()).to_numpy(), np.zeros(len(texts), dtype=bool), {})
    complaint = f"is not a timestamp of the format {format}"
    return _parse_each(texts, lambda text: _read_format(text, format), complaint)


def from_arrow_timestamps(column: pa.Array) -> Written:
    """Times that a file stores as times: with a zone they are instants, without one a clock's."""
    zoned = column.type.tz is not None if pa.types.is_timestamp(column.type) else False
    plain = column.cast(pa.timestamp("us", "UTC" if zoned else None), safe=False).cast(pa.int64())
    problems = dict.fromkeys(
        np.nonzero(column.is_null().to_numpy(zero_copy_only=False))[0].tolist(), "no timestamp"
    )
    return Written(plain.fill_null(0).to_numpy(), np.full(len(column), zoned), problems)


def _parse_each(texts: pa.StringArray, read: Callable[[str], datetime], complaint: str) -> Written:
    """Row by row, where at least one row is not as simple as most files."""
    us = np.zeros(len(texts), dtype=np.int64)
    zoned = np.zeros(len(texts), dtype=bool)
    problems: dict[int, str] = {}
    for index, text in enumerate(texts.to_pylist()):
        stripped = (text or "").strip()
        if not stripped:
            problems[index] = "no timestamp"
            continue
        try:
            time = read(stripped)
        except ValueError:
            problems[index] = f"{stripped[:40]!r} {complaint}"
            continue
        zoned[index] = time.tzinfo is not None
        us[index] = to_us(time if zoned[index] else time.replace(tzinfo=UTC))
    return Written(us, zoned, problems)


def _read_format(text: str, format: str) -> datetime:
    return datetime.strptime(text, format)  # noqa: DTZ007  a zone is the caller's to add


def _read_iso(text: str) -> datetime:
    if not _ISO.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(
        text.replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+").replace(" -", "-")
    )
