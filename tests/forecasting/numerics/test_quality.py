"""Scores of forecasts against readings, with numbers worked by hand."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from forecasting.answered import Answered
from forecasting.quality import Issued, Readings, observed_at, population_stability_index, scores

HOUR = 3_600_000_000
DAY = 24 * HOUR
NOON = 20_000 * DAY + 12 * HOUR  # 2024-10-04, a Friday


def readings(
    values: list[float], *, start: int = NOON, minutes: float = 60, adds_up: bool = False
) -> Readings:
    times = start + (np.arange(len(values)) * minutes * 60_000_000).astype(np.int64)
    return Readings(times, np.array(values), minutes, adds_up)


def issued(p50: list[float], *, made_at: int = NOON - HOUR, name: str = "auto", minutes: int = 60) -> Issued:
    medians = np.array(p50)
    return Issued(
        Answered(name, "v1", "blend"),
        NOON,
        minutes,
        made_at,
        np.column_stack((medians - 1, medians, medians + 1)),
    )


def test_a_day_is_scored_as_by_hand() -> None:
    (score,) = scores([issued([10, 10, 10])], readings([10.5, 12, 7]), from_us=0, before_us=NOON + DAY)

    assert score.answered == Answered("auto", "v1", "blend")
    assert (score.lead_hours, score.day, score.count) == (6, date(2024, 10, 4), 3)
    assert score.mae == pytest.approx((0.5 + 2 + 3) / 3)
    assert score.bias == pytest.approx((-0.5 - 2 + 3) / 3)
    assert score.coverage == pytest.approx(1 / 3)
    assert score.size == pytest.approx((10.5 + 12 + 7) / 3)
    p10 = (0.1 * 1.5 + 0.1 * 3 + 0.9 * 2) / 3  # of 9: below by 1.5 and 3, above by 2
    p50 = 0.5 * (0.5 + 2 + 3) / 3
    p90 = (0.1 * 0.5 + 0.9 * 1 + 0.1 * 4) / 3  # of 11: above by 0.5, below by 1, above by 4
    assert score.pinball == pytest.approx((p10 + p50 + p90) / 3)


def test_models_leads_and_days_are_apart() -> None:
    steps = [10.0] * 30
    found = list(
        scores(
            [issued(steps), issued(steps), issued(steps, name="other")],
            readings([10.0] * 30),
            from_us=0,
            before_us=NOON + 10 * DAY,
        )
    )

    counted = {(score.answered.model_name, score.lead_hours, score.day.day): score.count for score in found}
    of_one = {
        (6, 4): 6,
        (24, 4): 6,
        (24, 5): 12,
        (72, 5): 6,
    }  # noon plus 30 h; a lead of 24 h ends at 11 the next day
    assert counted == {
        **{("auto", *key): 2 * count for key, count in of_one.items()},
        **{("other", *key): count for key, count in of_one.items()},
    }


def test_what_was_known_already_is_no_forecast() -> None:
    late = issued([10, 10, 10], made_at=NOON + HOUR)

    (score,) = scores([late], readings([10, 10, 10]), from_us=0, before_us=NOON + DAY)

    assert score.count == 1  # of the third step alone


def test_outside_of_the_time_asked_for_nothing_is_scored() -> None:
    assert not list(scores([issued([10.0])], readings([10.0]), from_us=NOON + HOUR, before_us=NOON + DAY))
    assert not list(scores([issued([10.0])], readings([10.0]), from_us=0, before_us=NOON))
    assert not list(scores([], readings([10.0]), from_us=0, before_us=NOON))
    assert not list(scores([issued([10.0])], readings([]), from_us=0, before_us=NOON + DAY))


def test_leads_past_a_week_are_left_out() -> None:
    found = scores([issued([10.0] * 200)], readings([10.0] * 200), from_us=0, before_us=NOON + 30 * DAY)

    assert sum(score.count for score in found) == 168


@pytest.mark.parametrize(
    ("values", "minutes", "adds_up", "expected"),
    [
        ([1, 2, 3, 6], 15, False, 3.0),  # the mean of four quarters
        ([1, 2, 3, 6], 15, True, 12.0),  # their sum
        ([1, 2], 15, True, 6.0),  # half of it is there: the rest taken as the mean, 4 * 1.5
        ([1], 15, False, np.nan),  # a quarter of it says too little
        ([5], 60, True, 5.0),
        ([5], 60, False, 5.0),
        ([5], 180, False, np.nan),  # what lies between readings was not measured
    ],
)
def test_readings_are_brought_to_the_interval(
    values: list[float], minutes: float, adds_up: bool, expected: float
) -> None:
    target = np.array([NOON])

    found = observed_at(target, 60, readings(values, minutes=minutes, adds_up=adds_up))

    np.testing.assert_allclose(found, [expected])


def test_the_stability_index_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(7)
    reference = np.asarray(rng.normal(0, 1, 5_000), dtype=np.float64)
    current = np.asarray(rng.normal(0.5, 1, 5_000), dtype=np.float64)
    edges = np.quantile(reference, np.arange(0.1, 0.95, 0.1))
    by_definition = 0.0
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        p = (((reference >= low) & (reference < high)).sum() + 0.5) / 5_005
        q = (((current >= low) & (current < high)).sum() + 0.5) / 5_005
        by_definition += (q - p) * np.log(q / p)

    assert population_stability_index(reference, current) == pytest.approx(by_definition)
    assert by_definition == pytest.approx(0.25, abs=0.03)  # of two normals a shift of d has d^2
    alike = np.asarray(rng.normal(0, 1, 5_000), dtype=np.float64)
    assert population_stability_index(reference, alike) < 0.01


def test_too_few_points_and_a_constant_give_no_index() -> None:
    many, few = np.linspace(0, 99, 100), np.linspace(0, 98, 99)

    assert np.isnan(population_stability_index(many, few))
    assert np.isnan(population_stability_index(np.append(few, np.nan), many))
    assert np.isnan(population_stability_index(np.ones(500), many))
