"""The one query of the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import history
from features.models import Reading, Weather
from omarino.authentication import Principal
from tests.factories import make_readings, make_weather

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000
START_US = int(START.timestamp()) * 1_000_000
pytestmark = pytest.mark.django_db


def window(owner: Principal, before: datetime, **said: object) -> list[tuple[int, float]]:
    times, values = history.window(tenant_id=owner.tenant_id, asset_id="main-meter", before=before, **said)  # type: ignore[arg-type]
    assert (times.dtype.name, values.dtype.name) == ("int64", "float64")
    return list(zip(((times - START_US) // HOUR_US).tolist(), values.tolist(), strict=True))


def test_a_window_ends_strictly_before_its_moment(alice: Principal) -> None:
    make_readings(alice, [1.0, 2.0, 3.0, 4.0])

    assert window(alice, START + 2 * HOUR) == [(0, 1.0), (1, 2.0)]
    assert window(alice, START + 2 * HOUR + timedelta(microseconds=1)) == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert window(alice, START + 4 * HOUR, start=START + HOUR) == [(1, 2.0), (2, 3.0), (3, 4.0)]


def test_a_window_of_nothing_is_empty(alice: Principal) -> None:
    assert window(alice, START) == []


def test_times_are_exact_to_the_microsecond(alice: Principal) -> None:
    odd = START + timedelta(microseconds=1)
    make_readings(alice, [0.1], start=odd)

    times, values = history.window(tenant_id="alpha", asset_id="main-meter", before=START + HOUR)

    assert (times.tolist(), values.tolist()) == ([START_US + 1], [0.1])


def test_readings_stored_late_and_out_of_order_come_in_order(alice: Principal) -> None:
    make_readings(alice, [3.0], start=START + 2 * HOUR)
    make_readings(alice, [1.0, 2.0])

    assert window(alice, START + 9 * HOUR) == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_another_tenants_asset_of_the_same_name_is_not_seen(alice: Principal, charlie: Principal) -> None:
    make_readings(alice, [1.0])
    make_readings(charlie, [99.0, 98.0])

    assert window(alice, START + 9 * HOUR) == [(0, 1.0)]


def test_metrics_are_kept_apart(alice: Principal) -> None:
    make_readings(alice, [1.0])
    make_readings(alice, [50.0], metric="frequency")

    assert window(alice, START + HOUR) == [(0, 1.0)]
    assert window(alice, START + HOUR, metric="frequency") == [(0, 50.0)]


def test_readings_called_bad_are_left_out_and_doubtful_ones_are_not(alice: Principal) -> None:
    said = ["good", "bad", None, "invalid", "estimated", "missing", "suspect"]
    make_readings(alice, range(7), quality=said)

    assert [value for _, value in window(alice, START + 9 * HOUR)] == [0.0, 2.0, 4.0, 6.0]


def test_what_came_later_is_not_known_earlier(alice: Principal) -> None:
    make_readings(alice, [1.0, 2.0])
    Reading.objects.filter(timestamp=START).update(available_at=START + 5 * HOUR)
    Reading.objects.filter(timestamp=START + HOUR).update(available_at=START + 2 * HOUR)

    assert window(alice, START + 9 * HOUR, as_known_at=START + 4 * HOUR) == [(1, 2.0)]
    assert window(alice, START + 9 * HOUR, as_known_at=START + 5 * HOUR) == [(0, 1.0), (1, 2.0)]


hours = st.integers(min_value=0, max_value=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    past=st.dictionaries(hours, st.floats(-1e6, 1e6), max_size=12),
    as_of=hours,
    future=st.dictionaries(hours, st.floats(-1e6, 1e6), max_size=12),
)
def test_nothing_at_or_after_the_moment_moves_a_window(
    alice: Principal, past: dict[int, float], as_of: int, future: dict[int, float]
) -> None:
    Reading.objects.all().delete()
    for hour, value in past.items():
        make_readings(alice, [value], start=START + hour * HOUR)
    moment = START + as_of * HOUR
    before = window(alice, moment)
    for hour, value in future.items():
        make_readings(alice, [value], start=moment + hour * HOUR)

    assert window(alice, moment) == before == sorted(item for item in past.items() if item[0] < as_of)


def test_weather_has_a_past_and_a_future(alice: Principal) -> None:
    nothing = float("nan")
    make_weather(alice, {"temperature": [1.0, 2.0, nothing, 4.0], "humidity": [nothing, 80.0, 81.0, nothing]})

    seen = history.weather(
        tenant_id="alpha", asset_id="main-meter", start=START + HOUR, before=START + 3 * HOUR
    )

    assert ((seen.times_us - START_US) // HOUR_US).tolist() == [1, 2]
    assert set(seen.columns) == {"temperature", "humidity"}
    np.testing.assert_array_equal(seen.columns["temperature"], [2.0, np.nan])
    np.testing.assert_array_equal(seen.columns["humidity"], [80.0, 81.0])


def test_weather_forecast_later_is_not_known_earlier(alice: Principal) -> None:
    make_weather(alice, {"temperature": [1.0, 2.0]})
    Weather.objects.filter(timestamp=START).update(available_at=START - HOUR)

    seen = history.weather(
        tenant_id="alpha", asset_id="main-meter", start=START, before=START + 9 * HOUR, as_known_at=START
    )

    assert seen.columns["temperature"].tolist() == [1.0]


def test_the_latest_reading_is_the_last_usable_one(alice: Principal) -> None:
    make_readings(alice, [1.0, 2.0, 3.0], quality=[None, "good", "bad"])

    def latest(before: datetime | None = None) -> datetime | None:
        return history.latest_at(tenant_id="alpha", asset_id="main-meter", before=before)

    assert (latest(), latest(START + HOUR), latest(START)) == (START + HOUR, START, None)


def test_the_newest_readings_come_first(alice: Principal, charlie: Principal) -> None:
    make_readings(alice, range(5))
    make_readings(charlie, [99.0])

    newest = history.latest_readings(tenant_id="alpha", asset_id="main-meter", limit=2)

    assert [reading.value for reading in newest] == [4.0, 3.0]


def test_gaps_are_found_counted_and_ordered_by_length(alice: Principal) -> None:
    # 0 1 . 3 . . . 7 8: one missing after hour 1, three after hour 3
    for hour in (0, 1, 3, 7, 8):
        make_readings(alice, [1.0], start=START + hour * HOUR)

    found = history.gaps(tenant_id="alpha", asset_id="main-meter", interval=HOUR)

    assert (found.readings, found.missing, found.gap_count) == (5, 4, 2)
    assert (found.first, found.last) == (START, START + 8 * HOUR)
    assert found.longest == [
        history.Gap(START + 3 * HOUR, START + 7 * HOUR, 3),
        history.Gap(START + HOUR, START + 3 * HOUR, 1),
    ]


def test_no_reading_has_no_gap(alice: Principal) -> None:
    found = history.gaps(tenant_id="alpha", asset_id="main-meter", interval=HOUR)

    assert (found.readings, found.first, found.longest) == (0, None, [])
