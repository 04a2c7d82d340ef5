"""Measure the forecasters against their peers, on data this project ships. See README.md beside it.

python -m benchmarks.forecast [--origins 12] [--own-origins 96] [--more DIR] [--no-peers] [--time] [--write docs/benchmarks/forecast.md]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import report, stress
from benchmarks.scores import coverage, crossed, last_week, mae, pinball
from benchmarks.sites import Sample, read_site
from forecasting.forecasters import FORECASTERS

ROOT = Path(__file__).parent.parent
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
HISTORY = 8_760  # points a contender may see before an origin
SHORTEST_DAYS = 35  # before the first origin
HORIZONS = {"24 h": 1, "168 h": 7}  # days
OURS = ["auto", *sorted(name for name in FORECASTERS if name != "auto")]
PEERS = ["mlforecast", "statsforecast", "skforecast"]  # slowest first, so that two workers end together
REPEATS = 9


def origins(sample: Sample, count: int) -> list[int]:
    """Positions spread over the second half of a series, at varied hours, each right after a reading."""
    last = sample.values.size - 7 * sample.day
    first = max(SHORTEST_DAYS * sample.day, sample.values.size // 2)
    chosen = []
    for wanted in np.linspace(first, last, count).astype(int):
        known = np.flatnonzero(~np.isnan(sample.values[:wanted]))
        chosen.append(int(known[-1]) + 1)
    return chosen


def accuracy_tasks(samples: list[Sample], count: int) -> list[dict]:
    """Every series, origin and horizon; the long horizon first, which lets a peer answer both from one fit."""
    tasks = []
    for sample in samples:
        for origin in origins(sample, count):
            for horizon, days in reversed(HORIZONS.items()):
                tasks.append(_task(sample, origin, days, horizon=horizon, id=len(tasks)))
    return tasks


def _task(sample: Sample, origin: int, days: int, **more: object) -> dict:
    first = max(0, origin - HISTORY)
    first += int(np.argmax(~np.isnan(sample.values[first:])))
    return {"series": sample.name, "first": first, "origin": origin, "steps": days * sample.day, **more}


def weather_tasks(samples: list[Sample], count: int) -> list[dict]:
    """The accuracy tasks of series with weather, with the true weather of the horizon told."""
    known = {s.name: [c for c in s.weather if c in ("temperature", "solar_irradiance")] for s in samples}
    tasks = accuracy_tasks([s for s in samples if s.weather], count)
    return [task | {"weather": known[task["series"]]} for task in tasks]


def ask(contender: str, samples: list[Sample], tasks: list[dict]) -> dict[int, dict]:
    """Put the questions to one contender in a process of its own, on one thread."""
    peer = contender in PEERS
    command = [BENCH_PYTHON, "benchmarks/peers.py"] if peer else [sys.executable, "-m", "benchmarks.ours"]
    asked = {task["series"] for task in tasks}
    series = {sample.name: sample.question() for sample in samples if sample.name in asked}
    began = time.perf_counter()
    answered = subprocess.run(
        [*command, contender],
        input=json.dumps({"series": series, "tasks": tasks}),
        cwd=ROOT,
        env=os.environ | ONE_THREAD,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(f"{contender}: {len(tasks)} forecasts, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    answers = [json.loads(line) for line in answered.stdout.splitlines()]
    return {answer["task"]: answer for answer in answers}


def score(samples: list[Sample], tasks: list[dict], answers: dict[int, dict] | None) -> list[dict]:
    """A row per task: losses of one contender and of the reference (last week, with its own band).

    Peers are held at zero where the history never is negative, as any user of theirs would do.
    """
    by_name = {sample.name: sample for sample in samples}
    rows = []
    for task in tasks:
        sample = by_name[task["series"]]
        seen = sample.values[task["first"] : task["origin"]]
        truth = sample.values[task["origin"] : task["origin"] + task["steps"]]
        reference = last_week(seen, task["steps"], sample.day)
        told = reference if answers is None else np.array(answers[task["id"]]["quantiles"])
        held = np.maximum(told, 0.0) if np.nanmin(seen) >= 0 else told
        rows.append(
            {
                "series": sample.name,
                "origin": task["origin"],
                "horizon": task["horizon"],
                "pinball": pinball(truth, held),
                "mae": mae(truth, held),
                "reference_pinball": pinball(truth, reference),
                "reference_mae": mae(truth, reference),
                "coverage": coverage(truth, held),
                "crossed": crossed(told),
            }
        )
    return rows


def contest(samples: list[Sample], count: int, contenders: list[str]) -> dict[str, list[dict]]:
    tasks = accuracy_tasks(samples, count)
    with ThreadPoolExecutor(max_workers=2) as two_processes:
        pending = {c: two_processes.submit(ask, c, samples, tasks) for c in reversed(contenders)}
        scored = {c: score(samples, tasks, pending[c].result()) for c in contenders}
    return {"last week": score(samples, tasks, None)} | scored


def with_weather(samples: list[Sample], count: int) -> list[dict]:
    tasks = weather_tasks(samples, count)
    return score(samples, tasks, ask("auto", samples, tasks))


def quarter_hours(hourly: Sample) -> Sample:
    """The hourly series in steps of 15 minutes, 35,040 points: for time only, its values mean nothing."""
    fine = np.arange(4 * HISTORY + 4 * 7 * 24) / 4
    values = np.interp(fine, np.arange(hourly.values.size), hourly.values)
    values *= np.random.default_rng(0).normal(1, 0.05, values.size)
    fields = {name: getattr(hourly, name) for name in hourly.__dataclass_fields__}
    changed = {"name": "quarter-hours", "interval_minutes": 15, "values": values, "weather": {}}
    return Sample(**fields | changed)


def time_alone(samples: list[Sample], contenders: list[str]) -> list[dict]:
    """Milliseconds of one forecast in one process pinned to one core: medians after a warm-up.

    Both of the processor and on the clock: the first is what the code needs, the second has in it
    whatever else the machine was doing.
    """
    (hourly,) = [s for s in samples if s.name == "home-electricity-uk"]
    fine = quarter_hours(hourly)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    rows = []
    for contender in contenders:
        timed = [(hourly, HISTORY)] if contender in PEERS else [(hourly, HISTORY), (fine, 4 * HISTORY)]
        repeats = 2 if contender in PEERS else REPEATS
        for sample, points in timed:
            for horizon, days in HORIZONS.items():
                task = {"series": sample.name, "first": 0, "origin": points, "steps": days * sample.day}
                tasks = [task | {"id": repeat, "repeat": repeat} for repeat in range(repeats + 1)]
                answers = list(ask(contender, [sample], tasks).values())[1:]
                row = {"contender": contender, "points": points, "horizon": horizon}
                for measure in ("cpu_seconds", "seconds"):
                    row[measure] = float(np.median([answer[measure] for answer in answers]))
                rows.append(row)
    os.sched_setaffinity(0, everywhere)
    return rows


def prepare_peers() -> None:
    """Make `.venv-bench` from its hashed lock, anew when the lock changed; the peers need other versions than the
    service has."""
    lock, folder = ROOT / "requirements" / "bench.txt", ROOT / ".venv-bench"
    installed = folder / ".installed"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [BENCH_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
    subprocess.run(pip, check=True)
    installed.write_bytes(lock.read_bytes())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--origins", type=int, default=12, help="rolling origins per series (12)")
    arguments.add_argument(
        "--own-origins", type=int, default=96, help="origins per series of auto alone (96)"
    )
    arguments.add_argument("--more", type=Path, help="a folder with a site.json of further series")
    arguments.add_argument("--no-peers", action="store_true", help="our own forecasters only")
    arguments.add_argument(
        "--time", action="store_true", help="only the times, put into the report of --write"
    )
    arguments.add_argument("--write", type=Path, help="write the report here as well")
    options = arguments.parse_args()
    if options.time and not options.write:
        arguments.error("--time needs --write: the report that the times go into")
    began = time.perf_counter()
    peers = [] if options.no_peers else PEERS
    if peers:
        prepare_peers()
    contenders = [*OURS, *reversed(peers)]
    shipped = read_site(ROOT / "sample_data")
    if options.time:
        options.write.write_text(
            report.timed_anew(options.write.read_text(), time_alone(shipped, [*OURS, *peers]))
        )
        return
    results = {
        "origins": options.origins,
        "contest": contest(shipped, options.origins, contenders),
        "own_origins": options.own_origins,
        "own": contest(shipped, options.own_origins, ["auto"])["auto"],
        "weather": with_weather(shipped, options.origins),
        "timing": time_alone(shipped, [*OURS, *peers]),
        "stress": {
            horizon: stress.run({s.name: s for s in shipped}, OURS, steps=24 * days)
            for horizon, days in HORIZONS.items()
        },
        "more": contest(read_site(options.more), options.origins, contenders) if options.more else None,
    }
    results["seconds"] = time.perf_counter() - began
    command = " ".join(["python -m benchmarks.forecast", *sys.argv[1:]])
    text = report.markdown(results, shipped, command)
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(text)


if __name__ == "__main__":
    main()
