"""The libraries we are measured against, run by the Python of `.venv-bench`.

    .venv-bench/bin/python benchmarks/peers.py PEER < questions.json > answers.jsonl

Each is used as its own documentation uses it for hourly electricity load, with LightGBM where it takes a
regressor, and with the kind of prediction interval its documentation recommends. Where the documentation
leaves room the kinder choice was taken: calendar features on the site's own clock, lags of a week, residuals
from windows the model has not seen. No parameter was tuned on these series, for them or for us.

A question names a series, the range of it that may be seen, and a number of steps; an answer holds p10, p50
and p90 for each step and the seconds they took, on the clock and of the processor. This file imports nothing of the project.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean
from mlforecast.target_transforms import Differences
from mlforecast.utils import PredictionIntervals
from skforecast.model_selection import TimeSeriesFold, backtesting_forecaster
from skforecast.preprocessing import RollingFeatures
from skforecast.recursive import ForecasterRecursive
from statsforecast.models import MSTL, AutoARIMA

SEED = 0


def lightgbm() -> LGBMRegressor:
    return LGBMRegressor(random_state=SEED, verbose=-1, n_jobs=1)


def calendar(times: pd.DatetimeIndex, zone: str) -> pd.DataFrame:
    """Hour and weekday on the site's clock: a peer that knows only UTC would lose on each DST change."""
    local = times.tz_localize("UTC").tz_convert(zone)
    hour = local.hour + local.minute / 60
    return pd.DataFrame({"hour": hour, "weekday": local.dayofweek, "month": local.month}, index=times)


def skforecast(values: pd.Series, steps: int, zone: str, day: int) -> np.ndarray:
    """Recursive LightGBM with split conformal intervals.

    User guide "Probabilistic forecasting: conformal prediction": residuals of a backtest over a
    calibration period, conditioned on the predicted value (binned); then a refit on everything.
    """
    week = 7 * day
    calibration = min(4 * week, len(values) // 3 // steps * steps)
    forecaster = ForecasterRecursive(
        estimator=lightgbm(),
        lags=[1, 2, 3, day - 1, day, day + 1, 2 * day, week - 1, week, week + 1],
        window_features=RollingFeatures(stats=["mean"], window_sizes=[day]),
    )
    ahead = pd.date_range(values.index[-1] + values.index.freq, periods=steps, freq=values.index.freq)
    exogenous = calendar(values.index.append(ahead), zone)
    folds = TimeSeriesFold(steps=steps, initial_train_size=len(values) - calibration, refit=False)
    _, past = backtesting_forecaster(
        forecaster,
        y=values,
        exog=exogenous.loc[values.index],
        cv=folds,
        metric="mean_absolute_error",
        n_jobs=1,
        show_progress=False,
    )
    forecaster.fit(y=values, exog=exogenous.loc[values.index])
    forecaster.set_out_sample_residuals(y_true=values.loc[past.index], y_pred=past["pred"])
    answer = forecaster.predict_interval(
        steps=steps,
        exog=exogenous.loc[ahead],
        method="conformal",
        interval=[0.1, 0.9],
        use_in_sample_residuals=False,
        use_binned_residuals=True,
    )
    return answer[["lower_bound", "pred", "upper_bound"]].to_numpy()


def mlforecast(values: pd.Series, steps: int, zone: str, day: int) -> np.ndarray:
    """LightGBM on the series differenced by a day, conformal intervals by lead time.

    Tutorial "Electricity load forecast" (differences, lags, rolling mean, date features) and how-to
    "Probabilistic forecasting" (PredictionIntervals, 10 windows).
    """

    ahead = pd.date_range(values.index[-1] + values.index.freq, periods=steps, freq=values.index.freq)
    known = calendar(values.index.append(ahead), zone)  # looked up: it is asked again at every step

    def hour(times: pd.DatetimeIndex) -> np.ndarray:
        return known["hour"].to_numpy()[known.index.get_indexer(times)]

    def weekday(times: pd.DatetimeIndex) -> np.ndarray:
        return known["weekday"].to_numpy()[known.index.get_indexer(times)]

    def month(times: pd.DatetimeIndex) -> np.ndarray:
        return known["month"].to_numpy()[known.index.get_indexer(times)]

    windows = int(min(10, (len(values) - 15 * day) // steps))
    model = MLForecast(
        models={"lightgbm": lightgbm()},
        freq=values.index.freq,
        lags=[1, 2, 3, day, 2 * day, 7 * day],
        lag_transforms={1: [RollingMean(day)], day: [RollingMean(2 * day)]},
        date_features=[hour, weekday, month],
        target_transforms=[Differences([day])],
        num_threads=1,
    )
    frame = pd.DataFrame({"unique_id": "series", "ds": values.index, "y": values.to_numpy()})
    model.fit(frame, prediction_intervals=PredictionIntervals(n_windows=windows, h=steps))
    answer = model.predict(steps, level=[80])
    return answer[["lightgbm-lo-80", "lightgbm", "lightgbm-hi-80"]].to_numpy()


def statsforecast(values: pd.Series, steps: int, zone: str, day: int) -> np.ndarray:  # noqa: ARG001
    """MSTL of a day and a week with an ARIMA on the trend and its own 80 % interval.

    Tutorial "Electricity load forecast": MSTL(season_length=[24, 24 * 7], trend_forecaster=AutoARIMA()).
    """
    model = MSTL(season_length=[day, 7 * day], trend_forecaster=AutoARIMA())
    answer = model.forecast(y=values.to_numpy(), h=steps, level=[80])
    return np.column_stack([answer["lo-80"], answer["mean"], answer["hi-80"]])


PEERS = {"skforecast": skforecast, "mlforecast": mlforecast, "statsforecast": statsforecast}


def main() -> None:
    warnings.filterwarnings("ignore")  # of the libraries about each other
    peer = PEERS[sys.argv[1]]
    questions = json.load(sys.stdin)
    series = {}
    for name, told in questions["series"].items():
        values, step = told["values"], f"{told['interval_minutes']}min"
        times = pd.date_range(told["start"], periods=len(values), freq=step)
        series[name] = pd.Series(values, index=times, dtype=float)
    fit, quantiles, spent = None, np.empty((0, 3)), {}
    for task in questions["tasks"]:
        told = questions["series"][task["series"]]
        day = 24 * 60 // told["interval_minutes"]
        seen = series[task["series"]].iloc[task["first"] : task["origin"]]
        seen = seen.asfreq(f"{told['interval_minutes']}min").interpolate()  # none of the three takes gaps
        now = (task["series"], task["first"], task["origin"], task.get("repeat"))
        if peer is statsforecast and now == fit and task["steps"] < len(quantiles):
            # its interval at a lead time does not depend on the horizon
            quantiles = quantiles[: task["steps"]]
        else:
            began, worked = time.perf_counter(), time.process_time()
            quantiles = peer(seen, task["steps"], told["timezone"], day)
            spent = {
                "seconds": time.perf_counter() - began,
                "cpu_seconds": time.process_time() - worked,
            }
        fit = now
        answer = {"task": task["id"], "quantiles": quantiles.tolist()} | spent
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
