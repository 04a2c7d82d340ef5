"""What every forecaster keeps, whatever is in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from forecasting.answered import answered
from forecasting.errors import UnknownForecaster
from forecasting.forecasters import FORECASTERS, forecaster_named
from forecasting.forecasters.base import (
    Calendar,
    Covariates,
    ExplainedForecaster,
    Forecaster,
    Outcome,
    Problem,
    Series,
)
from forecasting.horizon import regular_series
from tests.contracts.rolling_origin import rolling_origin

Floats = NDArray[np.float64]

MONDAY = np.datetime64("2025-01-06T00:00", "us")
LEARNED = ("auto", "lightgbm_v1", "linear_v1", "prophet_like_v1")


@pytest.fixture(params=sorted(FORECASTERS))
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return FORECASTERS[request.param]


def load(days: float, *, interval_minutes: int = 60, seed: int = 0) -> Floats:
    """Demand of people who sleep at night and at weekends, kW, with noise."""
    n = round(days * 1440 / interval_minutes)
    hour = np.arange(n) * interval_minutes / 60
    weekend = hour // 24 % 7 >= 5
    noise = np.random.default_rng(seed).normal(0, 2, n)
    return np.asarray(50 + 20 * np.sin(2 * np.pi * (hour - 6) / 24) - 12 * weekend + noise)


def problem(values: Floats, steps: int = 24, *, interval_minutes: int = 60, **more: object) -> Problem:
    series = Series(start=MONDAY, interval_minutes=interval_minutes, values=values)
    return Problem(series=series, steps=steps, calendar=Calendar("UTC", "DE"), **more)  # type: ignore[arg-type]


def assert_sound(outcome: Outcome, asked: Problem) -> None:
    q = outcome.quantiles
    assert q.shape == (asked.steps, 3)
    assert np.isfinite(q).all()
    assert (np.diff(q, axis=1) >= 0).all()
    if np.nanmin(asked.series.values) >= 0:
        assert (q >= 0).all()
    assert outcome.coverage_by_step.shape == (asked.steps,)
    measured = outcome.coverage_by_step[np.isfinite(outcome.coverage_by_step)]
    assert ((measured >= 0) & (measured <= 1)).all()


def test_the_same_problem_and_seed_give_the_same_outcome(forecaster: Forecaster) -> None:
    asked = problem(load(70))

    first, second = forecaster.forecast(asked, seed=7), forecaster.forecast(asked, seed=7)

    np.testing.assert_array_equal(first.quantiles, second.quantiles)
    np.testing.assert_array_equal(first.coverage_by_step, second.coverage_by_step)
    assert first.accuracy == second.accuracy


@pytest.mark.parametrize(
    ("days", "of_auto", "of_the_others"),
    [
        (0.5, {"last_value"}, {"last_value"}),
        (4, {"recent_days"}, {"recent_days"}),
        (20, {"linear_v1"}, {"itself", "recent_days"}),
        (60, {"blend"}, {"itself"}),
    ],
)
def test_what_answered_has_a_name_that_stays(
    forecaster: Forecaster, days: float, of_auto: set[str], of_the_others: set[str]
) -> None:
    words = forecaster.forecast(problem(load(days))).algorithm

    algorithm = answered(forecaster.name, "v1.0.0", words, is_built_in=True).algorithm

    if forecaster.name == "auto":
        assert algorithm in of_auto
    else:
        assert algorithm in {forecaster.name if name == "itself" else name for name in of_the_others}


def test_the_first_step_follows_the_last_reading(forecaster: Forecaster) -> None:
    outcome = forecaster.forecast(problem(load(30), steps=3))

    hours = ["2025-02-05T00:00", "2025-02-05T01:00", "2025-02-05T02:00"]
    np.testing.assert_array_equal(outcome.times, np.array(hours, dtype="datetime64[s]"))


def test_nothing_after_the_origin_is_looked_at(forecaster: Forecaster) -> None:
    values = load(60)
    changed = values.copy()
    changed[-48:] = 1e6

    def as_of_two_days_ago(history: Floats) -> Floats:
        backtest = rolling_origin(forecaster, problem(history, steps=48), windows=1)
        return backtest.quantiles

    np.testing.assert_array_equal(as_of_two_days_ago(values), as_of_two_days_ago(changed))


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("days_ahead", [1, 7])
def test_what_learns_beats_last_week_on_a_seasonal_series(name: str, days_ahead: int) -> None:
    asked = problem(load(130), steps=24 * days_ahead)

    learned = rolling_origin(FORECASTERS[name], asked, windows=8 // days_ahead + 2)
    naive = rolling_origin(FORECASTERS["seasonal_naive_v1"], asked, windows=8 // days_ahead + 2)

    # independent noise: last week's value errs by sqrt(2) times what the true mean errs by
    assert learned.accuracy.mae < 0.88 * naive.accuracy.mae
    assert learned.pinball < 0.88 * naive.pinball


def test_the_band_covers_about_what_it_says(forecaster: Forecaster) -> None:
    backtest = rolling_origin(forecaster, problem(load(160, seed=3)), windows=12, every=31)
    outcome = forecaster.forecast(problem(load(160, seed=3)))

    assert 0.68 <= backtest.accuracy.coverage <= 0.92  # 288 outcomes, 80 % wanted
    assert outcome.accuracy is not None
    assert 0.74 <= outcome.accuracy.coverage <= 0.86


def test_the_accuracy_it_reports_is_the_one_it_then_has(forecaster: Forecaster) -> None:
    values = load(200, seed=5)

    reported = forecaster.forecast(problem(values[: 24 * 186])).accuracy
    came = rolling_origin(forecaster, problem(values), windows=14).accuracy

    assert reported is not None
    assert reported.mae == pytest.approx(came.mae, rel=0.25)
    assert reported.rmse == pytest.approx(came.rmse, rel=0.25)
    assert reported.mape == pytest.approx(came.mape, rel=0.35)


def test_a_flipped_series_gets_the_flipped_forecast_of_its_sign(forecaster: Forecaster) -> None:
    outcome = forecaster.forecast(problem(-load(60)))

    assert outcome.quantiles.max() < 0


def test_the_unit_does_not_matter(forecaster: Forecaster) -> None:
    in_kw = forecaster.forecast(problem(load(40)))
    in_mw = forecaster.forecast(problem(load(40) / 1024))  # a power of two: no rounding either

    np.testing.assert_allclose(in_mw.quantiles * 1024, in_kw.quantiles, rtol=1e-6)


def test_unknown_and_constant_covariates_change_nothing(forecaster: Forecaster) -> None:
    asked = problem(load(60))
    n = asked.series.values.size
    useless = Covariates(
        names=("temperature", "tariff", "wind_speed"),
        past=np.column_stack([np.full(n, np.nan), np.full(n, 0.3), np.arange(n) * 1.0]),
        future=np.column_stack([np.full(24, 20.0), np.full(24, 0.3), np.full(24, np.nan)]),
    )

    without, with_them = forecaster.forecast(asked), forecaster.forecast(replace(asked, covariates=useless))

    np.testing.assert_array_equal(without.quantiles, with_them.quantiles)
    assert len(with_them.warnings) == len(without.warnings) + 3
    assert any("temperature was not used" in warning for warning in with_them.warnings)


@pytest.mark.parametrize("name", LEARNED)
def test_a_covariate_that_matters_helps(name: str) -> None:
    rng = np.random.default_rng(11)
    days = 120
    weather = np.repeat(rng.normal(10, 5, days + 1), 24) + rng.normal(0, 0.5, 24 * (days + 1))
    values = load(days + 1) + 3.0 * np.maximum(12 - weather, 0)
    told = Covariates(("temperature",), weather[: 24 * days, None], weather[24 * days :, None])
    asked = problem(values[: 24 * days])

    blind = FORECASTERS[name].forecast(asked).quantiles[:, 1]
    seeing = FORECASTERS[name].forecast(replace(asked, covariates=told)).quantiles[:, 1]
    truth = values[24 * days :]

    assert np.abs(truth - seeing).mean() < 0.7 * np.abs(truth - blind).mean()


def pv(days: int) -> Floats:
    hour = np.arange(24 * days) % 24
    clouds = np.random.default_rng(2).uniform(0.2, 1.0, 24 * days)
    return np.asarray(np.where((hour > 6) & (hour < 18), np.sin(np.pi * (hour - 6) / 12), 0.0) * 80 * clouds)


def test_pv_makes_nothing_at_night(forecaster: Forecaster) -> None:
    series = Series(start=MONDAY, interval_minutes=60, values=pv(40))
    outcome = forecaster.forecast(Problem(series=series, steps=48))

    night = np.isin(np.arange(48) % 24, [0, 1, 2, 3, 4, 5, 6, 18, 19, 20, 21, 22, 23])
    assert (outcome.quantiles[night] == 0).all()
    assert (outcome.quantiles[~night, 2] > 5).all()


@pytest.mark.parametrize("hours", [2, 7, 24, 25, 48, 72, 168, 240, 336, 504, 720])
def test_a_short_history_gives_a_sound_forecast_and_says_so(forecaster: Forecaster, hours: int) -> None:
    asked = problem(load(hours / 24), steps=30)

    outcome = forecaster.forecast(asked)

    assert_sound(outcome, asked)
    assert outcome.warnings or hours > 500
    low, high = asked.series.values.min(), asked.series.values.max()
    assert (outcome.quantiles[:, 1] >= 2 * low - high).all()
    assert (outcome.quantiles[:, 1] <= 2 * high - low).all()


MESSES = {
    "all zero": lambda v, _: v * 0,
    "constant": lambda v, _: v * 0 + 5,
    "negative": lambda v, _: -v,
    "around zero": lambda v, _: v - 50,
    "1 % of points times ten": lambda v, r: np.where(r.random(v.size) < 0.01, 10 * v, v),
    "40 % up for two weeks": lambda v, _: np.where(np.arange(v.size) > v.size - 336, 1.4 * v, v),
    "five times up since yesterday": lambda v, _: np.where(np.arange(v.size) > v.size - 30, 5 * v, v),
    "two days missing till six hours ago": lambda v, _: _without(v, -54, -6),
    "two weeks missing till yesterday": lambda v, _: _without(v, -360, -24),
    "a third missing at random": lambda v, r: np.where(_but_the_ends(r.random(v.size) < 0.33), np.nan, v),
    "one spike": lambda v, _: np.where(np.arange(v.size) == 700, 1e6, v),
    "one spike in silence": lambda v, _: np.where(np.arange(v.size) == 700, 50.0, 0.0),
    "a spike at the end of a constant": lambda v, _: np.where(np.arange(v.size) == v.size - 1, 50.0, 5.0),
    "on and off": lambda v, r: (r.random(v.size) < 0.3) * 2.0,
    "a ramp": lambda v, _: np.arange(v.size) * 1.0,
    "very small": lambda v, _: v * 1e-200,
    "very large": lambda v, _: v * 1e200,
}


def _without(values: Floats, start: int, end: int) -> Floats:
    holed = values.copy()
    holed[start:end] = np.nan
    return holed


def _but_the_ends(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask[[0, -1]] = False
    return mask


@pytest.mark.parametrize("mess", MESSES)
def test_a_messy_history_gives_a_sound_forecast(forecaster: Forecaster, mess: str) -> None:
    values = MESSES[mess](load(50), np.random.default_rng(4))  # type: ignore[no-untyped-call]
    for steps in (24, 168):
        asked = problem(values, steps=steps)
        assert_sound(forecaster.forecast(asked), asked)


@pytest.mark.parametrize("interval_minutes", [15, 25, 45, 50, 60, 100, 480, 1000, 1440])
def test_any_interval_gives_a_sound_forecast(forecaster: Forecaster, interval_minutes: int) -> None:
    days = 30 if interval_minutes < 400 else 200
    asked = problem(
        load(days, interval_minutes=interval_minutes),
        steps=max(1, 48 * 60 // interval_minutes),
        interval_minutes=interval_minutes,
    )

    outcome = forecaster.forecast(asked)

    assert_sound(outcome, asked)
    assert np.all(np.diff(outcome.times) == np.timedelta64(interval_minutes, "m"))


def test_a_constant_is_forecast_as_itself_without_doubt(forecaster: Forecaster) -> None:
    outcome = forecaster.forecast(problem(np.full(24 * 40, 5.0)))

    np.testing.assert_array_equal(outcome.quantiles, np.full((24, 3), 5.0))


def test_disorder_and_repetition_in_the_readings_change_nothing(forecaster: Forecaster) -> None:
    values = load(40)
    times = MONDAY.astype(np.int64) + np.arange(values.size) * 3_600_000_000
    shuffled = np.random.default_rng(0).permutation(np.concatenate((np.arange(values.size), np.arange(300))))

    tidy, _ = regular_series(times, values, 60)
    messy, warnings = regular_series(times[shuffled], values[shuffled], 60)

    assert "Readings that repeat a time: 300;" in warnings[0]
    one = forecaster.forecast(Problem(tidy, 24)).quantiles
    np.testing.assert_array_equal(one, forecaster.forecast(Problem(messy, 24)).quantiles)


@pytest.mark.parametrize("last", ["2025-03-29T20:00", "2025-10-25T20:00"])
def test_the_morning_peak_keeps_its_local_hour_over_a_dst_change(forecaster: Forecaster, last: str) -> None:
    end = np.datetime64(last, "s")
    times = end - np.arange(24 * 90)[::-1] * np.timedelta64(1, "h")
    winter_hour = (times - np.timedelta64(0, "h")).astype(np.int64) // 3600 % 24
    berlin = winter_hour + (1 if last.startswith("2025-03") else 2)  # before the change
    values = np.where(berlin % 24 == 7, 90.0, 10.0)
    series = Series(start=times[0].astype("datetime64[us]"), interval_minutes=60, values=values)

    outcome = forecaster.forecast(Problem(series, 24, Calendar("Europe/Berlin")))

    peak = outcome.times[int(np.argmax(outcome.quantiles[:, 1]))]
    change = "2025-03-30T05:00" if last.startswith("2025-03") else "2025-10-26T06:00"  # 07:00 in Berlin
    assert peak == np.datetime64(change, "s")


def test_a_hundred_thousand_readings_are_no_trouble(forecaster: Forecaster) -> None:
    asked = problem(load(1042, interval_minutes=15), steps=96, interval_minutes=15)

    assert_sound(forecaster.forecast(asked), asked)


@pytest.mark.parametrize("name", ["linear", "linear_v1", "auto", "seasonal_naive"])
def test_a_forecaster_is_found_with_and_without_its_version(name: str) -> None:
    assert forecaster_named(name).name.removesuffix("_v1") == name.removesuffix("_v1")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownForecaster, match=r"'arima'. Known are: auto, lightgbm_v1"):
        forecaster_named("arima")


@pytest.mark.parametrize("days", [3, 8, 14, 18, 22, 30])
def test_the_band_of_a_short_history_is_no_line(forecaster: Forecaster, days: int) -> None:
    inside = []
    for seed in range(6):
        values = load(days + 1, seed=seed)
        q = forecaster.forecast(problem(values[:-24])).quantiles
        inside.append(np.mean((values[-24:] >= q[:, 0]) & (values[-24:] <= q[:, 2])))

    assert np.mean(inside) >= 0.55  # 80 % wanted, of 144 outcomes from histories that do not show the week


# What adds up to a forecast


@pytest.mark.parametrize(
    ("days", "steps", "minutes"),
    [
        (0.5, 24, 60),
        (3, 24, 60),
        (10, 24, 60),
        (16, 48, 60),
        (22, 168, 60),
        (60, 168, 60),
        (60, 96, 15),
        (40, 48, 50),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "never negative", "still at night", "with weather"])
def test_its_account_adds_up_to_every_median(
    forecaster: ExplainedForecaster, days: float, steps: int, minutes: int, kind: str
) -> None:
    values = load(days, interval_minutes=minutes)
    hours = np.arange(values.size + steps) * minutes / 60
    more: dict[str, object] = {}
    if kind == "never negative":
        values = np.maximum(values - 45, 0)
    elif kind == "still at night":
        values = np.where(hours[: values.size] % 24 < 6, 0.0, values)
    elif kind == "with weather":
        warmth = 15 + 5 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(1).normal(0, 1, hours.size)
        table = warmth[:, None]
        more = {"covariates": Covariates(("temperature",), table[: values.size], table[values.size :])}
    asked = problem(values, steps, interval_minutes=minutes, **more)

    outcome, alone = forecaster.forecast(asked, explained=True), forecaster.forecast(asked)

    np.testing.assert_array_equal(outcome.quantiles, alone.quantiles)  # being explained changes nothing
    assert alone.attribution is None
    account = outcome.attribution
    assert account is not None
    assert account.contributions.shape == account.values.shape == (steps, len(account.names))
    total = account.base + account.contributions.sum(axis=1)
    np.testing.assert_allclose(total, outcome.quantiles[:, 1], rtol=0, atol=1e-9 * np.abs(values).max())
    if kind in ("plain", "with weather"):
        assert "limits" not in account.names  # nothing is left over where nothing was cut off


def test_the_account_of_last_week_is_last_weeks_value() -> None:
    values = load(35)
    values[-7 * 24] += 30  # what the first step repeats

    outcome = FORECASTERS["seasonal_naive_v1"].forecast(problem(values), explained=True)

    account = outcome.attribution
    assert account is not None
    usual = values[-28 * 24 :].mean()
    first = dict(zip(account.names, account.contributions[0], strict=True))
    assert account.base[0] == pytest.approx(usual)
    assert first["lag_7d"] == pytest.approx(values[-7 * 24] - usual)
    assert account.values[0, account.names.index("lag_7d")] == pytest.approx(values[-7 * 24])


def test_the_weather_is_given_its_due() -> None:
    """A load that rises by 2 kW a degree, and a hot day ahead: ten degrees more are 20 kW."""
    rng = np.random.default_rng(5)
    days, steps = 120, 24
    warmth = np.repeat(rng.normal(20, 4, days + 1), 24)
    warmth[days * 24 :] = 20 + 10
    values = load(days) + 2 * (warmth[: days * 24] - 20)
    table = warmth[:, None]
    asked = problem(
        values, steps, covariates=Covariates(("temperature",), table[: days * 24], table[days * 24 :])
    )

    account = FORECASTERS["linear_v1"].forecast(asked, explained=True).attribution

    assert account is not None
    of_weather = [k for k, name in enumerate(account.names) if name.startswith("temperature")]
    due = 2 * (30 - np.mean([warmth[(days - 7 * week) * 24] for week in (1, 2, 3, 4)]))
    assert account.contributions[:, of_weather].sum(axis=1).mean() == pytest.approx(due, rel=0.15)
