"""Which of two detectors is better."""

from __future__ import annotations

import numpy as np
import pytest

from anomalies.device_judging import Judged, standard_error, with_faults
from tests.anomalies.test_devices import table


def judged(missed: list[int], alarms: list[int], contamination: float = 0.1) -> Judged:
    return Judged(np.array(missed, dtype=bool), np.array(alarms, dtype=bool), contamination)


def test_alarms_count_beyond_the_detectors_own_share() -> None:
    # misses 1 of 4; alarms 3 of 10 rows, of which 1 in 10 were asked for
    one = judged([1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])

    assert one.error == pytest.approx(0.25 + 0.2)
    assert judged([1, 0, 0, 0], one.alarms.tolist(), contamination=0.4).error == pytest.approx(0.25)


def test_what_both_agree_on_is_no_chance() -> None:
    one = judged([1, 0, 1, 0], [0] * 4)

    assert standard_error(one, one) == 0
    # they differ at one fault of four: mean 1/4, variance 1/4 - 1/16 = 3/16, over 4
    assert standard_error(one, judged([0, 0, 1, 0], [0] * 4)) == pytest.approx((3 / 64) ** 0.5)


def test_faults_are_graded_by_what_is_usual_at_the_time_and_every_row_has_one() -> None:
    known = table(7, 0)
    held = known.rows(slice(6 * 288, None))

    faulty = with_faults(held, known, seed=1)

    rows = np.concatenate([at for _, at in faulty.tables])
    assert sorted(rows.tolist()) == list(range(288))
    moved = np.stack([np.abs(told.values[at] - held.values[at]).max(axis=0) for told, at in faulty.tables])
    assert (moved[:, 0] < 25 + 12 * 4).all()  # of the processor: 9 deviations, or a value of another hour
    changed = [int((told.values != held.values).sum()) for told, at in faulty.tables]
    assert changed == [len(at) for _, at in faulty.tables]


def test_the_same_seed_makes_the_same_faults() -> None:
    held = table(1, 0)
    one, other = (with_faults(held, held, seed=3).tables for _ in range(2))

    for (first, _), (second, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(first.values, second.values)


def test_of_many_rows_some_have_a_fault() -> None:
    held = table(20, 0)  # 5,760 rows

    assert len(with_faults(held, held, seed=0).tables) == 3  # a 20th of the rows in each
