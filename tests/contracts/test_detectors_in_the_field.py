"""What every detector keeps on the series that sites really send: shifted as a whole, coarse, uneven, dated wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anomalies.detectors import DETECTORS
from anomalies.detectors.base import Detector, Problem
from anomalies.detectors.extents import extents
from anomalies.detectors.grid import on_grid, resolution_of
from anomalies.detectors.profile import beyond_training, profile_of
from tests.contracts.test_detectors import HOUR, MONDAY, Floats, flagged, load, problem

WEEK = 7 * 24
DAY = 24 * HOUR


@pytest.fixture(params=sorted(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    return DETECTORS[request.param]


def after(training: Floats, *, step: int = HOUR) -> dict[str, Any]:
    """Training that ends where the window begins."""
    return {
        "training_times": MONDAY - step * np.arange(training.size, 0, -1),
        "training_values": training,
    }


@pytest.mark.parametrize("hours", [WEEK, 2 * WEEK, 6 * WEEK])
@pytest.mark.parametrize("shift", [20.0, -30.0])
def test_a_window_that_is_shifted_as_a_whole_is_held_against_its_training(
    detector: Detector, hours: int, shift: float
) -> None:
    training = load(56, seed=2)

    assert not flagged(detector.score(problem(load(hours / 24), **after(training)))).mean() > 0.02
    assert flagged(detector.score(problem(load(hours / 24) + shift, **after(training)))).all()


@pytest.mark.parametrize("hours", [30, 48, WEEK, 500])
def test_a_setpoint_that_was_changed_is_held_against_its_training(detector: Detector, hours: int) -> None:
    scores = detector.score(problem(np.full(hours, 7.0), **after(np.full(400, 5.0))))

    assert flagged(scores).mean() >= 0.5
    assert not any("do not vary" in warning for warning in scores.warnings)


def test_a_level_that_goes_on_as_in_training_is_no_anomaly(detector: Detector) -> None:
    growing = load(98, seed=3) + 0.02 * np.arange(98 * 24)

    scores = detector.score(problem(growing[56 * 24 :], **after(growing[: 56 * 24])))

    assert flagged(scores).mean() < 0.05


def test_what_a_level_may_do_is_learned_from_how_far_it_went() -> None:
    """Eight weeks that grow by one a day allow a week's window its slope, twice; four weeks of standing still nothing."""
    still, growing = np.full(56 * 24, 50.0), 50.0 + np.arange(56 * 24) / 24
    window = np.full(WEEK, 80.0)

    off = beyond_training(on_grid(problem(window, **after(still))))[-WEEK:]
    allowed = beyond_training(on_grid(problem(np.full(WEEK, 112.0), **after(growing))))[-WEEK:]

    assert off[-1] == 30.0  # all of it
    assert not allowed[-1] > 2.0  # from 106 it may go by 2 x 7, of which the level takes half a week to show
    assert not beyond_training(on_grid(problem(window))).any()


def test_a_spike_beyond_every_evening_is_found_in_the_evening(detector: Detector) -> None:
    """Evenings differ by 30, so that 90 more than usual is little among them; but no reading ever was like it."""
    hours = 56 * 24
    evening = np.isin(np.arange(hours) % 24, (18, 19, 20))
    cooked = evening * np.random.default_rng(4).gamma(1.0, 30.0, hours).clip(max=120.0)
    values = load(56, seed=4) + cooked
    values[-5 * 24 + 19] = 1.4 * values.max()

    scores = detector.score(problem(values[-3 * WEEK :], **after(values[: -3 * WEEK])))

    assert flagged(scores)[-5 * 24 + 19]


def test_only_the_side_that_readings_go_far_to_has_extents() -> None:
    """A home: most hours little, some evenings much, and never below its standby. Turned upside down, the other side."""
    grid = on_grid(problem(load(28) + np.random.default_rng(4).gamma(0.3, 200.0, 28 * 24)))
    usual = np.ones(grid.values.size, dtype=np.bool_)

    above, below = extents(grid, profile_of(grid, grid.values), usual, usual)
    mirrored = replace(grid, values=-grid.values)
    over, under = extents(mirrored, profile_of(mirrored, mirrored.values), usual, usual)

    assert above.any()
    assert not below.any()
    assert not over.any()
    np.testing.assert_allclose(under, above)


@pytest.mark.parametrize("hours", [1, 3, 12])
def test_what_falls_through_the_floor_is_found_in_a_wild_evening(detector: Detector, hours: int) -> None:
    """Evenings differ by 80, so that 40 less than usual is little among them; but no reading ever was below 46."""
    rng = np.random.default_rng(hours)
    hour = np.arange(84 * 24) % 24
    is_evening = (hour >= 17) & (hour < 22)
    used = np.where(is_evening, rng.gamma(1.0, 80.0, hour.size), rng.gamma(0.3, 8.0, hour.size))
    values = np.maximum(50.0 + rng.normal(0.0, 2.0, hour.size) + used, 46.0)
    begin = 70 * 24 + 18
    values[begin : begin + hours] = 10.0 + rng.normal(0.0, 0.5, hours)

    scores = detector.score(problem(values[42 * 24 :], **after(values[: 42 * 24])))

    assert flagged(scores)[begin - 42 * 24 :][:hours].any()


@pytest.mark.parametrize("resolution", [1.0, 4.0])
def test_readings_in_whole_numbers_are_judged_as_well(detector: Detector, resolution: float) -> None:
    """Noise of two standard deviations is half a step, or two of them."""
    for seed in range(3):
        values = load(28, seed=seed)
        values[400] += 140.0

        scores = detector.score(problem(np.round(values / resolution) * resolution))

        assert flagged(scores)[400]
        assert flagged(scores).sum() <= 0.06 * values.size


def test_the_resolution_of_a_meter_shows_in_its_readings() -> None:
    readings = np.round(load(28))

    assert resolution_of(readings) == 1.0
    assert resolution_of(readings / 8) == 0.125
    assert resolution_of(load(28)) < 0.1
    assert resolution_of(np.array([5.0, 6.0, np.nan])) == 0.0  # states


@pytest.mark.parametrize("points", [8, 12, 20, 23, 24])
@pytest.mark.parametrize("odd", [6.0, 1e6])
def test_the_one_reading_that_differs_is_found_among_few(detector: Detector, points: int, odd: float) -> None:
    values = np.full(points, 5.0)
    values[points // 2] = odd

    scores = detector.score(problem(values))

    assert np.flatnonzero(flagged(scores)).tolist() == [points // 2]
    assert not any("do not vary" in warning for warning in scores.warnings)


def test_training_that_comes_more_often_is_heeded_at_the_windows_instants(detector: Detector) -> None:
    quarters = load(21, seed=5, per_day=96)

    scores = detector.score(problem(load(2, seed=6), **after(quarters, step=HOUR // 4)))

    assert flagged(scores).sum() <= 2
    (said,) = [warning for warning in scores.warnings if warning.startswith("Training readings")]
    assert "every 15 minutes, those of the window every 60 minutes" in said


def test_a_meter_that_counts_is_told_to_send_differences(detector: Detector) -> None:
    counted = detector.score(problem(np.cumsum(load(28))))
    used = detector.score(problem(load(28)))
    steps = detector.score(problem(np.repeat([5.0, 6.0, 7.0], 100)))  # a setpoint that was raised twice

    assert [warning for warning in counted.warnings if "meter that counts" in warning]
    assert not [warning for found in (used, steps) for warning in found.warnings if "counts" in warning]


@pytest.mark.parametrize("year", [2045, 2190])
def test_a_wrong_date_costs_no_memory_of_the_years_between(detector: Detector, year: int) -> None:
    times = MONDAY + HOUR // 12 * np.arange(2_000)
    far = int(np.datetime64(f"{year}-01-01", "us").astype(np.int64))
    asked = problem(load(2_000 / 288, per_day=288))
    asked = Problem(np.append(times, far), np.append(asked.values, 60.0))

    grid = on_grid(asked)
    scores = detector.score(asked)

    assert grid.days <= 70
    assert grid.times.size <= 20_000
    assert (scores.times[-1], scores.values[-1]) == (far, 60.0)
    weekday = (far // DAY + 3) % 7
    assert grid.weekday[grid.day[-1]] == weekday


def test_many_holes_cost_no_more_memory_than_readings() -> None:
    """Two readings five minutes apart each 20 days, for ever."""
    pairs = np.arange(3_000)
    times = np.sort(np.concatenate((20 * DAY * pairs, 20 * DAY * pairs + HOUR // 12, [HOUR // 6])))

    grid = on_grid(Problem(MONDAY + times, np.ones(times.size)))

    assert grid.times.size <= 8 * times.size + 28 * 288
    assert grid.days * grid.slots <= 24 * (20 * 3_000 + 1)


def test_months_are_months(detector: Detector) -> None:
    first = np.array([np.datetime64(f"{2020 + i // 12}-{i % 12 + 1:02d}-01", "us") for i in range(60)])
    values = 100.0 + np.random.default_rng(7).normal(0, 1, 60)
    values[26] = 400.0  # March, 28 days after February

    scores = detector.score(Problem(first.astype(np.int64), values))

    assert (scores.times == first.astype(np.int64)).all()
    assert (scores.values == values).all()
    assert flagged(scores)[26]


def test_readings_that_share_a_step_are_averaged_and_told(detector: Detector) -> None:
    times = np.sort(np.concatenate((HOUR * np.arange(200), HOUR * np.arange(10, 20) + 60_000_000)))

    scores = detector.score(Problem(MONDAY + times, np.ones(210)))

    assert scores.times.size == 200
    assert any(
        "10 readings come less than half of the usual 60 minutes after" in said for said in scores.warnings
    )
