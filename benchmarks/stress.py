"""Histories as meters really deliver them: short, broken, flat, negative, shuffled.

Each case damages a healthy history and goes through `forecasting.horizon.regular_series`, as a request
does. A case is sound when the forecast has every step, is finite, has ordered quantiles, is not negative
where the history never was, and nothing was raised. Where the truth is still the healthy one, the error is
given beside that of the healthy history; a case that changes the truth (a level shift, a flipped sign)
carries its own truth.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.sites import Sample
from forecasting.forecasters import FORECASTERS
from forecasting.forecasters.base import Calendar, Problem
from forecasting.horizon import regular_series

HOUR = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class Case:
    """Raw readings before an origin, and what came after. times: epoch microseconds, UTC."""

    name: str
    times: np.ndarray
    values: np.ndarray
    truth: np.ndarray
    clean: str  # the healthy case to compare the error with; "" when nothing compares
    interval_minutes: int
    calendar: Calendar


@dataclass(frozen=True)
class Verdict:
    """How one forecaster bore one case. error: of the median, in % of the mean absolute truth."""

    faults: tuple[str, ...]
    error: float


def hourly(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Times and hourly means of a sample; hours without a reading are left out."""
    times = sample.start.to_datetime64().astype("datetime64[us]").astype(np.int64)
    per_hour = 60 // sample.interval_minutes
    whole = sample.values.size // per_hour * per_hour
    values = sample.values[:whole].reshape(-1, per_hour).mean(axis=1)
    known = ~np.isnan(values)
    return (times + HOUR * np.arange(values.size))[known], values[known]


def at(moment: str) -> int:
    return int(np.datetime64(moment, "us").astype(np.int64))


def cases(samples: dict[str, Sample], steps: int, rng: np.random.Generator) -> Iterator[Case]:
    demand, home, pv = (samples[n] for n in ("demand-england-wales", "home-electricity-uk", "pv-greensboro"))
    times, values = hourly(demand)
    cut = times.size - 168 - 7  # the origin: a week before the end, in the middle of an evening
    past_t, past, truth = times[:cut], values[:cut], values[cut : cut + steps]
    london = Calendar(demand.timezone, demand.country, demand.subdivision)

    def case(
        name: str, t: np.ndarray, v: np.ndarray, after: np.ndarray = truth, clean: str = "demand"
    ) -> Case:
        return Case(name, t, v, after, clean, 60, london)

    yield case("demand", past_t, past)
    yield case("2 readings", past_t[-2:], past[-2:])
    for hours in (7, 24, 48, 168, 14 * 24, 21 * 24):
        name = f"{hours} h of history" if hours < 168 else f"{hours // 24} d of history"
        yield case(name, past_t[-hours:], past[-hours:])
    yield case("all zero", past_t, 0 * past, 0 * truth, "")
    yield case("constant", past_t, 0 * past + 7.5, 0 * truth + 7.5, "")
    yield case("negative throughout", past_t, -past, -truth)
    yield case("positive and negative", past_t, past - past.mean(), truth - past.mean(), "")
    outliers = rng.random(cut) < 0.01
    yield case("1 % of points x 10", past_t, np.where(outliers, 10 * past, past))
    yield case("one spike x 50, six hours before the origin", past_t, _scaled(past, cut - 6, cut - 5, 50))
    yield case("+40 % for the last three days", past_t, _scaled(past, cut - 72, cut, 1.4), 1.4 * truth)
    yield case("+40 % for the last three weeks", past_t, _scaled(past, cut - 504, cut, 1.4), 1.4 * truth)
    yield case("a day missing until 3 h before the origin", *_without(past_t, past, cut - 27, cut - 3))
    yield case("a week missing until 1 h before the origin", *_without(past_t, past, cut - 169, cut - 1))
    kept = rng.random(cut) > 0.3
    kept[-1] = True
    yield case("30 % of points missing", past_t[kept], past[kept])
    yield case("every reading twice", np.repeat(past_t, 2), np.repeat(past, 2))
    order = rng.permutation(cut)
    yield case("in disorder", past_t[order], past[order])
    yield from _nights(home, pv, steps)


def _scaled(values: np.ndarray, first: int, last: int, factor: float) -> np.ndarray:
    changed = values.copy()
    changed[first:last] *= factor
    return changed


def _without(times: np.ndarray, values: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    kept = np.r_[0:first, last : times.size]
    return times[kept], values[kept]


def _nights(home: Sample, pv: Sample, steps: int) -> Iterator[Case]:
    """DST nights on local clocks, and a plant that sleeps."""
    for name, sample, origin in (
        ("home, an ordinary week", home, at("2022-03-12T20:00")),
        ("DST: the night an hour is skipped", home, at("2022-03-26T20:00")),
        ("DST: the night an hour comes twice", home, at("2022-10-29T20:00")),
        ("PV from midnight", pv, at("2023-09-20T04:00")),
        ("PV from noon", pv, at("2023-09-20T16:00")),
    ):
        times, values = hourly(sample)
        cut = int(np.searchsorted(times, origin))
        clean = {"DST": "home, an ordinary week"}.get(name[:3], "")
        place = Calendar(sample.timezone, sample.country, sample.subdivision)
        yield Case(name, times[:cut], values[:cut], values[cut : cut + steps], clean, 60, place)


HEALTHY = {"demand", "home, an ordinary week"}


def judge(case: Case, forecaster: str) -> Verdict:
    steps = case.truth.size
    try:
        series, _ = regular_series(case.times, case.values, case.interval_minutes)
        outcome = FORECASTERS[forecaster].forecast(Problem(series, steps, case.calendar), seed=0)
    except Exception:  # noqa: BLE001 - whatever is raised is what this benchmark is here to count
        return Verdict((traceback.format_exc().strip().splitlines()[-1][:120],), float("nan"))
    quantiles, last = outcome.quantiles, int(case.times.max())
    checks: list[tuple[str, Callable[[], bool]]] = [
        ("steps missing", lambda: quantiles.shape == (steps, 3)),
        ("not finite", lambda: bool(np.isfinite(quantiles).all())),
        ("quantiles crossed", lambda: bool((np.diff(quantiles, axis=1) >= 0).all())),
        ("negative", lambda: bool(case.values.min() < 0 or quantiles.min() >= 0)),
        ("wrong first time", lambda: outcome.times[0] == np.datetime64(last + HOUR, "us")),
    ]
    scale = np.abs(case.truth).mean() or 1.0
    error = 100 * float(np.abs(case.truth - quantiles[:, 1]).mean()) / scale
    return Verdict(tuple(fault for fault, sound in checks if not sound()), error)


def run(samples: dict[str, Sample], forecasters: list[str], steps: int) -> list[dict]:
    """A row a case: faults by forecaster, error of the first forecaster and of its healthy case."""
    rows, healthy = [], {}
    for case in cases(samples, steps, np.random.default_rng(0)):
        verdicts = {name: judge(case, name) for name in forecasters}
        error = verdicts[forecasters[0]].error
        if case.name in HEALTHY:
            healthy[case.name] = error
        rows.append(
            {
                "case": case.name,
                "healthy": case.name in HEALTHY,
                "faults": {n: list(v.faults) for n, v in verdicts.items() if v.faults},
                "error": error,
                "clean": healthy.get(case.clean, float("nan")),
            }
        )
    return rows
