"""Our own forecasters, asked the same questions in the same way as `peers.py`.

python -m benchmarks.ours FORECASTER < questions.json > answers.jsonl
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from forecasting.forecasters import FORECASTERS
from forecasting.forecasters.base import Calendar, Covariates, Problem, Series


def problem(told: dict, task: dict) -> Problem:
    """What may be seen: the readings of [first, origin) and, when the task says so, the weather to come."""
    first, origin, steps = task["first"], task["origin"], task["steps"]
    values = np.array(told["values"][first:origin], dtype=float)
    step = np.timedelta64(told["interval_minutes"], "m")
    covariates = None
    if task.get("weather"):
        columns = [np.array(told["weather"][name], dtype=float) for name in task["weather"]]
        table = np.column_stack(columns)
        covariates = Covariates(tuple(task["weather"]), table[first:origin], table[origin : origin + steps])
    return Problem(
        series=Series(np.datetime64(told["start"], "us") + first * step, told["interval_minutes"], values),
        steps=steps,
        calendar=Calendar(told["timezone"], told["country"], told["subdivision"]),
        covariates=covariates,
    )


def main() -> None:
    forecaster = FORECASTERS[sys.argv[1]]
    questions = json.load(sys.stdin)
    for task in questions["tasks"]:
        asked = problem(questions["series"][task["series"]], task)
        began, worked = time.perf_counter(), time.process_time()
        outcome = forecaster.forecast(asked, seed=0)
        answer = {
            "task": task["id"],
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - worked,
            "quantiles": outcome.quantiles.tolist(),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
