"""A series in a body: read whole, and when it is wrong, which rows are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from omarino.series import LARGEST_VALUE, Points, SeriesField, TooManyPoints, parse_timestamps_us

FIRST, LAST = datetime(1970, 1, 2), datetime(2199, 12, 30)  # noqa: DTZ001  hypothesis adds the zones
AT = "2025-03-01T10:00:00Z"


def read(data: Any, **limits: int) -> Points:
    return SeriesField(**limits).to_internal_value(data)


def wrong_rows(data: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as refusal:
        read(data)
    assert isinstance(refusal.value.detail, dict)
    return dict(refusal.value.detail)


def test_times_of_all_zones_and_values_of_all_kinds_are_read() -> None:
    points = read(
        [
            {"timestamp": "2025-03-01T10:00:00Z", "value": 1},
            {"timestamp": "2025-03-01T12:00:00+02:00", "value": -2.5},
            {"timestamp": "2025-03-01 10:00:00.123456", "value": None},
            {"timestamp": "2025-03-01T04:30:00-0530", "value": 0, "metadata": {"more": "is let by"}},
            {"timestamp": "2025-03-01", "value": 1e15},
        ]
    )

    ten = 1_740_823_200_000_000  # date -u -d '2025-03-01 10:00' +%s
    assert points.times_us.tolist() == [ten, ten, ten + 123_456, ten, ten - 36_000_000_000]
    np.testing.assert_array_equal(points.values, [1.0, -2.5, np.nan, 0.0, 1e15])


@given(
    st.lists(
        st.datetimes(
            FIRST,
            LAST,
            timezones=st.sampled_from(
                [None, UTC, timezone(timedelta(hours=-11, minutes=-30)), timezone(timedelta(hours=14))]
            ),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=150, deadline=None)
def test_what_python_writes_is_read_to_the_microsecond(times: list[datetime]) -> None:
    expected = [
        (time.replace(tzinfo=time.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC))
        // timedelta(microseconds=1)
        for time in times
    ]

    assert parse_timestamps_us([time.isoformat() for time in times]).tolist() == expected


BAD_TIMES: list[Any] = [
    *("", " ", "now", "today", "NaT", "nan", "null", "tomorrow", "2025-13-01", "2025-06-31", "1735689600"),
    *("2025-01-01T24:00:01Z", "2025-01-01T10:60:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z"),
    *("0001-01-01", "99999-01-01", "2025-01-01T10:00:00 Europe/Berlin", "2025-01-01T10:00:00+99:99"),
    *(
        "1970-01-01T00:00:00+01:00",
        "infinity",
        "\u0662\u0660\u0662\u0665-01-01",
        "2025-01-01T10:00:00Z" * 1000,
    ),
    *(None, 5, 1735689600, 1.5, True, [], {}, ["2025-01-01"]),
]


@pytest.mark.parametrize("bad", BAD_TIMES, ids=lambda bad: repr(bad)[:30])
def test_a_bad_time_is_found_among_good_ones(bad: Any) -> None:
    data = [{"timestamp": AT, "value": 1}] * 3 + [
        {"timestamp": bad, "value": 1},
        {"timestamp": AT, "value": 1},
    ]

    assert {row: list(what) for row, what in wrong_rows(data).items()} == {"3": ["timestamp"]}


@pytest.mark.parametrize(
    "bad", ["1", "", True, False, [], {}, [1], 1e16, -1e16, 2**63, 10**400], ids=lambda bad: repr(bad)[:30]
)
def test_a_bad_value_is_found_among_good_ones(bad: Any) -> None:
    data = [{"timestamp": AT, "value": 1}] * 3 + [
        {"timestamp": AT, "value": bad},
        {"timestamp": AT, "value": 1},
    ]

    assert {row: list(what) for row, what in wrong_rows(data).items()} == {"3": ["value"]}


@pytest.mark.parametrize("bad", [None, 1, "x", [], ["timestamp", "value"], True])
def test_a_point_that_is_no_object_is_found(bad: Any) -> None:
    assert list(wrong_rows([{"timestamp": AT, "value": 1}, bad])) == ["1"]


def test_what_is_missing_is_named() -> None:
    found = wrong_rows([{}, {"timestamp": AT}, {"value": 1}, {"timestamp": AT, "value": None}])

    assert {row: list(what) for row, what in found.items()} == {
        "0": ["timestamp", "value"],
        "1": ["value"],
        "2": ["timestamp"],
    }


def test_of_many_wrong_rows_the_first_twenty_are_named() -> None:
    assert list(wrong_rows([{"timestamp": AT, "value": "x"}] * 1000)) == [str(row) for row in range(20)]


@pytest.mark.parametrize("data", [None, {}, {"0": {}}, "x", 1, True])
def test_a_series_is_a_list(data: Any) -> None:
    with pytest.raises(ValidationError, match="A list of"):
        read(data)


def test_a_series_has_the_length_that_is_asked_for() -> None:
    point = {"timestamp": AT, "value": 1}

    assert read([point] * 3, min_points=3, max_points=3).size == 3
    assert read([]).size == 0
    with pytest.raises(ValidationError, match="At least 3 points"):
        read([point] * 2, min_points=3)
    with pytest.raises(TooManyPoints, match="has 4 points; this route takes 3"):
        read([None] * 4, max_points=3)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["timestamp", "value", "x"]),
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text(max_size=12),
                st.sampled_from([AT, "2025", "20250101", "2025-01-01T10"]),
            ),
        )
        | st.none(),
        max_size=6,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_list_is_read_or_refused_by_row(data: list[Any]) -> None:
    try:
        points = read(data)
    except ValidationError as refusal:
        detail = refusal.detail
        assert isinstance(detail, dict)
        rows = [row for row in detail if row != "non_field_errors"]
        assert rows, f"no row is named for {data}"
        assert all(0 <= int(row) < len(data) for row in rows)
        return
    assert points.size == len(data)
    assert (np.isnan(points.values) | (np.abs(points.values) <= LARGEST_VALUE)).all()


@pytest.mark.timeout(30)
def test_a_hundred_thousand_points_are_read_without_a_step_for_each() -> None:
    """An object for each point would take minutes; how long it takes is measured in benchmarks/, not here."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    data = [
        {"timestamp": (start + timedelta(minutes=row)).isoformat(), "value": float(row)}
        for row in range(100_000)
    ]

    points = read(data)

    assert np.array_equal(np.diff(points.times_us), np.full(99_999, 60_000_000))
    assert points.values.sum() == 99_999 * 100_000 / 2


def test_it_is_written_as_it_was_read() -> None:
    data = [{"timestamp": AT, "value": 1.5}, {"timestamp": AT, "value": None}]

    written = SeriesField().to_representation(read(data))

    assert [point["value"] for point in written] == [1.5, None]
    assert [str(point["timestamp"]) for point in written] == ["2025-03-01T10:00:00.000000"] * 2
