"""What every detector keeps, whatever is in it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from anomalies.detectors import DETECTORS
from anomalies.detectors.base import MAX_SCORE, Detector, Problem, Scores
from anomalies.detectors.kinds import KINDS
from anomalies.severity import threshold

Floats = NDArray[np.float64]

MONDAY = int(np.datetime64("2025-01-06T00:00", "us").astype(np.int64))
HOUR = 3_600_000_000


@pytest.fixture(params=sorted(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    return DETECTORS[request.param]


def load(days: float, *, seed: int = 0, per_day: int = 24) -> Floats:
    """Demand of people who sleep at night and at weekends, kW, with noise of two standard deviations."""
    n = round(days * per_day)
    hour = np.arange(n) * 24 / per_day
    weekend = hour // 24 % 7 >= 5
    noise = np.random.default_rng(seed).normal(0, 2, n)
    return np.asarray(80 + 25 * np.sin(2 * np.pi * (hour - 6) / 24) - 15 * weekend + noise)


def problem(values: Floats, *, start: int = MONDAY, step: int = HOUR, **more: Any) -> Problem:
    return Problem(start + step * np.arange(values.size), values, **more)


def flagged(scores: Scores, sensitivity: float = 3.0) -> NDArray[np.bool_]:
    return np.asarray(scores.score >= threshold(sensitivity))


def assert_sound(scores: Scores) -> None:
    assert np.isfinite(scores.score).all()
    assert ((scores.score >= 0) & (scores.score <= MAX_SCORE)).all()
    assert (np.diff(scores.times) > 0).all()
    assert {array.shape for array in (scores.values, scores.expected, scores.std, scores.kind)} == {
        scores.times.shape
    }
    assert (scores.std[np.isfinite(scores.std)] >= 0).all()


FAULTS = {
    "spike": (slice(500, 501), lambda v: v + 60, "spike"),
    "drop to zero": (slice(500, 506), lambda v: v * 0, "drop_to_zero"),
    "stuck": (slice(500, 516), lambda v: v * 0 + v[0], "stuck"),
    "level shift": (slice(480, 516), lambda v: v + 40, "level_shift"),
    "ten times too large": (slice(500, 512), lambda v: v * 10, "scale_error"),
    "a thousand times too small": (slice(500, 512), lambda v: v / 1000, "scale_error"),
    "missing": (slice(500, 510), lambda v: v * np.nan, "missing_block"),
    "drift": (slice(480, 528), lambda v: v + np.linspace(5, 90, v.size), "drift"),
    "load at night": (slice(502, 509), lambda v: v + 40, "night_load"),  # 22:00 to 05:00
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("trained", [False, True])
def test_what_meters_do_wrong_is_found_and_named(detector: Detector, fault: str, trained: bool) -> None:
    values = load(42, seed=1)
    where, damage, kind = FAULTS[fault]
    values[where] = damage(values[where])  # type: ignore[no-untyped-call]
    more: dict[str, Any] = {}
    if trained:
        before = MONDAY - 42 * 24 * HOUR
        more = {
            "training_times": before + HOUR * np.arange(42 * 24),
            "training_values": load(42, seed=2),
        }

    scores = detector.score(problem(values, **more))

    assert_sound(scores)
    found = np.flatnonzero(flagged(scores))
    assert np.isin(found, np.arange(where.start, where.stop)).any()
    surest = np.flatnonzero(scores.score >= 0.7 * scores.score[where].max())
    kinds = [KINDS[scores.kind[index]] for index in surest if where.start <= index < where.stop]
    assert max(set(kinds), key=kinds.count) == kind
    outside = np.setdiff1d(found, np.arange(where.start - 4, where.stop + 4))
    assert outside.size <= 20  # of 1,008


def test_less_sensitive_never_flags_more(detector: Detector) -> None:
    values = load(42)
    values[300:320] += np.linspace(0, 60, 20)
    scores = detector.score(problem(values))

    for more, less in pairwise(flagged(scores, s) for s in np.linspace(1, 5, 41)):
        assert (less <= more).all()


@pytest.mark.parametrize("points", [2, 7, 8, 30, 200, 1000])
@pytest.mark.parametrize("value", [0.0, 5.0, -3.25, 1e-9, 1e12])
def test_a_constant_flags_nothing(detector: Detector, points: int, value: float) -> None:
    scores = detector.score(problem(np.full(points, value)))

    assert_sound(scores)
    assert not flagged(scores, 1.0).any()


WAVE = np.round(10 + 5 * np.sin(np.arange(504) / 24 * 2 * np.pi), 3)


@pytest.mark.parametrize(
    "usual", [np.full(504, 5.0), np.zeros(504), WAVE], ids=["setpoint", "nought", "wave"]
)
@pytest.mark.parametrize("hours", [1, 12])
def test_what_never_varied_and_now_does_is_found(detector: Detector, usual: Floats, hours: int) -> None:
    values = usual.copy()
    values[250 : 250 + hours] += 3.0

    scores = detector.score(problem(values))

    assert_sound(scores)
    assert flagged(scores)[250 : 250 + hours].all()
    assert flagged(scores).sum() <= hours + 4
    np.testing.assert_allclose(scores.expected[250], usual[250], atol=0.05)


def test_a_state_that_is_met_now_and_then_is_no_fault(detector: Detector) -> None:
    values = np.zeros(504)
    values[np.random.default_rng(0).choice(504, 25, replace=False)] = 1.0

    scores = detector.score(problem(values))

    assert flagged(scores).sum() <= 4  # once it is met twice in a row


def test_what_never_varies_is_told_as_that(detector: Detector) -> None:
    scores = detector.score(problem(np.full(504, 5.0)))

    assert scores.warnings == (
        "The readings do not vary, or each day is the same as the others, so none of them is unusual.",
    )


@pytest.mark.parametrize("points", [1, 2, 3, 7])
def test_a_few_points_are_answered_without_an_accusation(detector: Detector, points: int) -> None:
    scores = detector.score(problem(np.arange(points, dtype=np.float64) ** 4))

    assert scores.times.size == points
    assert not flagged(scores, 1.0).any()
    assert scores.warnings[0] == (
        f"It takes 8 readings or more to call one of them unusual; there are {points} here."
    )


def test_no_value_at_all_is_answered(detector: Detector) -> None:
    scores = detector.score(problem(np.full(50, np.nan)))

    assert_sound(scores)
    assert not flagged(scores, 1.0).any()


def test_the_same_problem_and_seed_give_the_same_scores(detector: Detector) -> None:
    asked = problem(load(42))

    first, second = detector.score(asked, seed=3), detector.score(asked, seed=3)

    np.testing.assert_array_equal(first.score, second.score)


def test_disorder_and_repetition_change_nothing(detector: Detector) -> None:
    values = load(42)
    values[500] = 200.0
    tidy = problem(values)
    order = np.random.default_rng(0).permutation(np.concatenate((np.arange(values.size), np.arange(300))))

    messy = replace(tidy, times=tidy.times[order], values=tidy.values[order])

    np.testing.assert_allclose(detector.score(messy).score, detector.score(tidy).score, rtol=1e-9)


@pytest.mark.parametrize(("factor", "offset"), [(1024.0, 0.0), (1 / 1024, 0.0), (-1.0, 0.0), (2.0, 4096.0)])
def test_unit_and_origin_do_not_matter(detector: Detector, factor: float, offset: float) -> None:
    values = np.round(load(42) * 64) / 64  # so that neither rounds
    values[500:510] += 40.0

    plain = detector.score(problem(values))
    changed = detector.score(problem(values * factor + offset))

    np.testing.assert_allclose(changed.score, plain.score, rtol=1e-5, atol=1e-6)


def test_faults_in_the_training_data_do_not_blind_it(detector: Detector) -> None:
    rng = np.random.default_rng(5)
    training = load(42, seed=2)
    wrong = rng.choice(training.size, training.size // 50, replace=False)  # 2 %
    training[wrong] += rng.choice([-1, 1], wrong.size) * 80
    values = load(14)
    values[200] += 40.0
    values[250:262] += 40.0

    scores = detector.score(
        problem(
            values,
            training_times=MONDAY - HOUR * np.arange(training.size, 0, -1),
            training_values=training,
        )
    )

    assert flagged(scores)[200]
    assert flagged(scores)[250:262].mean() > 0.6


def test_a_fault_does_not_excuse_itself(detector: Detector) -> None:
    """In a plain z-score of n values none can exceed (n - 1) / sqrt(n), which two weeks of a slot never reach 3."""
    values = load(14)
    values[200] = 1e6

    assert flagged(detector.score(problem(values)), 5.0)[200]


def test_expected_is_that_of_the_very_time(detector: Detector) -> None:
    scores = detector.score(problem(load(42)))

    truth = (
        80 + 25 * np.sin(2 * np.pi * (np.arange(42 * 24) - 6) / 24) - 15 * (np.arange(42 * 24) // 24 % 7 >= 5)
    )
    error = np.abs(scores.expected - truth)
    assert np.median(error) < 1.0
    assert 1.5 < np.median(scores.std) < 3.5  # the noise has 2


def test_a_change_of_the_clocks_is_no_anomaly(detector: Detector) -> None:
    start = int(np.datetime64("2025-03-10T00:00", "us").astype(np.int64))
    n = 42 * 24
    seconds = (start + HOUR * np.arange(n)) // 1_000_000
    change = int(np.datetime64("2025-03-30T01:00", "s").astype(np.int64))
    local = (seconds // 3600 + np.where(seconds >= change, 2, 1)) % 24
    values = np.where((local >= 7) & (local < 19), 100.0, 20.0) + np.random.default_rng(0).normal(0, 2, n)

    scores = detector.score(problem(values, start=start, timezone="Europe/Berlin"))

    assert flagged(scores).sum() <= 8  # of 1,008, by noise; an hour amiss would flag two a day


MESSES = {
    "gaps": lambda v, r: np.where(r.random(v.size) < 0.3, np.nan, v),
    "two weeks missing": lambda v, _: np.where(
        (np.arange(v.size) > 300) & (np.arange(v.size) < 636), np.nan, v
    ),
    "all zero but one": lambda v, _: np.where(np.arange(v.size) == 500, 50.0, 0.0),
    "on and off": lambda v, r: (r.random(v.size) < 0.3) * 2.0,
    "a ramp": lambda v, _: np.arange(v.size) * 1.0,
    "white noise": lambda v, r: r.normal(0, 1, v.size),
    "very small": lambda v, _: v * 1e-12,
    "very large": lambda v, _: v * 1e12,
    "infinite": lambda v, _: np.where(np.arange(v.size) == 500, np.inf, v),
    "whole numbers": lambda v, _: np.round(v / 20),
}


@pytest.mark.parametrize("mess", MESSES)
@pytest.mark.parametrize("minutes", [1, 7, 15, 60, 1440])
def test_a_messy_series_is_scored_soundly(detector: Detector, mess: str, minutes: int) -> None:
    values = MESSES[mess](load(42), np.random.default_rng(4))  # type: ignore[no-untyped-call]

    scores = detector.score(problem(values, step=minutes * HOUR // 60))

    assert_sound(scores)
    assert flagged(scores).mean() < 0.4


def test_centuries_between_two_readings_are_no_trouble(detector: Detector) -> None:
    values = load(20)
    times = MONDAY + HOUR * np.arange(values.size)
    times[240:] += 150 * 365 * 24 * HOUR

    assert_sound(detector.score(Problem(times, values)))


def test_a_hundred_thousand_readings_are_no_trouble(detector: Detector) -> None:
    scores = detector.score(problem(load(1042, per_day=96), step=HOUR // 4))

    assert_sound(scores)
    assert flagged(scores).mean() < 0.01
