"""Local times by zone, ISO 8601 only, formats only when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from features.errors import TimestampFormatInvalid, UnknownTimeZone
from features.timestamps import Clock, parse_format, parse_iso

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moments(us: np.ndarray) -> list[datetime]:
    return [EPOCH + timedelta(microseconds=int(value)) for value in us]


def walk(zone: str, start: datetime, steps: int, minutes: int = 30) -> tuple[list[datetime], list[str]]:
    """Instants at an even distance and what a wall clock of the zone shows then, by zoneinfo."""
    instants = [start + timedelta(minutes=minutes * step) for step in range(steps)]
    return instants, [f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for instant in instants]


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Berlin", datetime(2025, 10, 25, 12, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2025, 3, 29, 12, tzinfo=UTC)),
        ("America/Chicago", datetime(2016, 11, 5, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 4, 5, 3, tzinfo=UTC)),  # goes back by half an hour
        ("America/Havana", datetime(2025, 11, 1, 12, tzinfo=UTC)),  # goes back at 01:00, to midnight
    ],
)
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_wall_clock_is_read_back_to_the_instants_it_showed(
    zone: str, start: datetime, newest_first: bool
) -> None:
    instants, texts = walk(zone, start, 96)
    if newest_first:
        instants, texts = instants[::-1], texts[::-1]

    read = Clock(zone).read(parse_iso(pa.array(texts)))

    assert (moments(read.us), read.problems) == (instants, {})


def test_an_overlap_cut_in_two_by_a_block_is_read_as_one() -> None:
    instants, texts = walk("Europe/Berlin", datetime(2025, 10, 25, 20, tzinfo=UTC), 16)
    clock = Clock("Europe/Berlin")

    read = [moments(clock.read(parse_iso(pa.array(texts[i : i + 3]))).us) for i in range(0, 16, 3)]

    assert [instant for block in read for instant in block] == instants


def test_each_year_has_an_overlap_of_its_own() -> None:
    clock = Clock("Europe/Berlin")
    for year, day in ((2024, 27), (2025, 26)):
        written = parse_iso(pa.array([f"{year}-10-{day} 02:00", f"{year}-10-{day} 02:00"]))
        assert np.diff(clock.read(written).us).tolist() == [3_600_000_000]


def test_metrics_side_by_side_do_not_look_like_the_repeated_hour() -> None:
    texts = ["2025-10-26 02:00"] * 4
    read = Clock("Europe/Berlin").read(parse_iso(pa.array(texts)), ["load", "price", "load", "price"])

    midnight = datetime(2025, 10, 26, tzinfo=UTC)
    assert moments(read.us) == [
        midnight,
        midnight,
        midnight + timedelta(hours=1),
        midnight + timedelta(hours=1),
    ]


def test_a_time_that_clocks_skip_is_refused_with_its_reason() -> None:
    read = Clock("Europe/Berlin").read(
        parse_iso(pa.array(["2025-03-30 01:30", "2025-03-30 02:30", "2025-03-30 03:00"]))
    )

    assert read.problems == {
        1: "2025-03-30 02:30:00 does not exist in Europe/Berlin: clocks are put forward then"
    }
    assert moments(read.us)[2] - moments(read.us)[0] == timedelta(minutes=30)


def test_a_time_with_a_zone_of_its_own_ignores_the_files_zone() -> None:
    read = Clock("Europe/Berlin").read(
        parse_iso(pa.array(["2025-06-01T12:00:00Z", "2025-06-01 12:00", "2025-06-01 12:00 +05:30"]))
    )

    assert [f"{moment:%H:%M}" for moment in moments(read.us)] == ["12:00", "10:00", "06:30"]


@pytest.mark.parametrize(
    "text",
    [
        "01.02.2025 10:00",
        "1/2/2025",
        "02/01/2025 10:00",
        "2025-02-30",
        "2025-13-01",
        "20250101",
        "1735689600",
        "x",
    ],
)
def test_what_is_not_iso_is_never_guessed(text: str) -> None:
    written = parse_iso(pa.array(["2025-01-01 00:00", text]))

    assert written.problems == {1: f"{text!r} is not an ISO 8601 timestamp"}
    assert moments(written.us)[0] == datetime(2025, 1, 1, tzinfo=UTC)


def test_a_time_outside_the_age_of_metering_is_refused() -> None:
    read = Clock().read(parse_iso(pa.array(["0025-01-01", "2025-01-01", "2200-01-01"])))

    assert sorted(read.problems) == [0, 2]


def test_a_given_format_is_kept_to_the_letter() -> None:
    texts = pa.array(
        ["31.01.2025 23:15", "01.02.2025 00:00", "31.02.2025 00:00", "1.2.2025", "02/01/2025 00:00"]
    )

    written = parse_format(texts, "%d.%m.%Y %H:%M")

    assert sorted(written.problems) == [2, 3, 4]
    assert moments(written.us)[:2] == [
        datetime(2025, 1, 31, 23, 15, tzinfo=UTC),
        datetime(2025, 2, 1, tzinfo=UTC),
    ]


def test_a_format_with_an_offset_gives_instants() -> None:
    written = parse_format(pa.array(["01.02.2025 00:00 +0100"]), "%d.%m.%Y %H:%M %z")

    assert moments(Clock("Asia/Tokyo").read(written).us) == [datetime(2025, 1, 31, 23, tzinfo=UTC)]


@pytest.mark.parametrize("format", ["%d.%m %H:%M", "%Q", "%Y-%m-%d %"])
def test_a_format_that_names_no_day_is_refused(format: str) -> None:
    with pytest.raises(TimestampFormatInvalid):
        parse_format(pa.array(["2025-01-01"]), format)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(UnknownTimeZone, match="Europe/Atlantis"):
        Clock("Europe/Atlantis")
