"""What min..max of a point promises, on every sample asset by every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomalies.detectors import DETECTORS
from anomalies.detectors.base import Floats, Problem
from anomalies.findings import Findings
from benchmarks.sites import Sample, read_site

SAMPLES = read_site(Path(__file__).parents[2] / "sample_data")
WINDOW, TRAINING = 1_000, 56 * 24  # hours
EVERY_PAIR = [
    pytest.param(sample, method, id=f"{sample.name} {method}") for sample in SAMPLES for method in DETECTORS
]


def findings_of(
    sample: Sample, method: str, *, sensitivity: float = 3.0, values: Floats | None = None
) -> Findings:
    """The last thousand hours of a sample, learned from the eight weeks before them."""
    values = sample.values if values is None else values
    step = sample.interval_minutes * 60_000_000
    times = sample.start.value // 1_000 + step * np.arange(values.size)
    per_hour = 60 // sample.interval_minutes
    judged, taught = (
        slice(-WINDOW * per_hour, None),
        slice(-(WINDOW + TRAINING) * per_hour, -WINDOW * per_hour),
    )
    problem = Problem(times[judged], values[judged], times[taught], values[taught], sample.timezone)
    return Findings(problem, DETECTORS[method].score(problem, seed=0), sensitivity, sample.unit)


def ranged(findings: Findings) -> list[dict[str, Any]]:
    return [
        row
        for row in findings.every_point()
        if row["value"] is not None and row["expected_range"]["mean"] is not None
    ]


@pytest.mark.parametrize(("sample", "method"), EVERY_PAIR)
@pytest.mark.parametrize("sensitivity", [1.0, 3.0, 5.0])
def test_what_was_expected_lies_within_the_range_and_a_value_beyond_it_is_flagged(
    sample: Sample, method: str, sensitivity: float
) -> None:
    rows = ranged(findings_of(sample, method, sensitivity=sensitivity))

    usual = [row["expected_range"] for row in rows]
    assert len(rows) > 900
    assert all(each["min"] <= each["mean"] <= each["max"] for each in usual)
    assert min(each["min"] for each in usual) >= 0  # no sample ever was negative
    beyond = [
        row for row, each in zip(rows, usual, strict=True) if not each["min"] <= row["value"] <= each["max"]
    ]
    assert [row["timestamp"] for row in beyond if not row["is_anomaly"]] == []


@pytest.mark.parametrize(("sample", "method"), EVERY_PAIR)
def test_a_reading_twice_as_far_off_as_the_range_goes_is_flagged(sample: Sample, method: str) -> None:
    at = -round(100.4 * 60 / sample.interval_minutes)
    usual = findings_of(sample, method).every_point()[at]["expected_range"]
    values = sample.values.copy()
    values[at] = usual["max"] + (usual["max"] - usual["mean"])

    row = findings_of(sample, method, values=values).every_point()[at]

    assert row["is_anomaly"]


def test_a_series_that_was_negative_may_be_expected_negative() -> None:
    (pv,) = (sample for sample in SAMPLES if sample.name == "pv-greensboro")

    rows = ranged(findings_of(pv, "prophet_decomposition", values=pv.values - 1.0))

    assert min(row["expected_range"]["mean"] for row in rows) < -1.0
    assert min(row["expected_range"]["min"] for row in rows) < -1.0


def test_the_sentence_of_a_finding_expects_nothing_that_cannot_be() -> None:
    (pv,) = (sample for sample in SAMPLES if sample.name == "pv-greensboro")
    values = pv.values.copy()
    values[-100:] = np.where(values[-100:] > 0, values[-100:], 12.0)  # something produces at night

    found = findings_of(pv, "prophet_decomposition", values=values).anomalies()

    assert len(found) > 10
    assert not [row["explanation"] for row in found if "; -" in row["explanation"]]
