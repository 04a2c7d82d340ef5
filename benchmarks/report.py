"""The report of `forecast.py` in Markdown: the bars first, then what they rest on."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.machine import machine
from benchmarks.sites import Sample

OUR_PACKAGES = ("numpy", "scikit-learn", "lightgbm", "holidays")
PEER_PACKAGES = ("skforecast", "mlforecast", "statsforecast", "lightgbm")
BENCH_PYTHON = Path(__file__).parent.parent / ".venv-bench" / "bin" / "python"
PEERS = {
    "skforecast": "skforecast + LightGBM",
    "mlforecast": "mlforecast + LightGBM",
    "statsforecast": "statsforecast MSTL",
}
HORIZONS = ("24 h", "168 h")
LOSSES = ("pinball", "mae")
NOT_ABOVE = {
    ("pinball", "24 h"): 0.67,
    ("pinball", "168 h"): 0.87,
    ("mae", "24 h"): 0.67,
    ("mae", "168 h"): 0.88,
}
TIME = "## Time"
TIME_IS = (
    "Milliseconds of processor time of one forecast in one process pinned to one core, in brackets those on the clock, "
    "which hold whatever else ran there; medians of 9 after a warm-up (of 2 for peers)."
)
MILLISECONDS = {  # of processor time, by points of history
    (8_760, "24 h"): 150,
    (8_760, "168 h"): 250,
    (35_040, "24 h"): 500,
    (35_040, "168 h"): None,
}


def relative(rows: list[dict], loss: str, horizon: str) -> dict[str, float]:
    """By series: the summed loss over all origins in units of the reference's."""
    answer = {}
    for name in dict.fromkeys(row["series"] for row in rows):
        mine = [row for row in rows if row["series"] == name and row["horizon"] == horizon]
        answer[name] = sum(row[loss] for row in mine) / sum(row[f"reference_{loss}"] for row in mine)
    return answer


def mean_relative(rows: list[dict], loss: str, horizon: str) -> float:
    return float(np.mean(list(relative(rows, loss, horizon).values())))


def standard_error(rows: list[dict], loss: str, horizon: str) -> float:
    """Of `mean_relative`, by drawing the origins of each series anew, with replacement, 500 times."""
    random = np.random.default_rng(0)
    drawn = np.zeros(500)
    names = list(dict.fromkeys(row["series"] for row in rows))
    for name in names:
        mine = [row for row in rows if row["series"] == name and row["horizon"] == horizon]
        pairs = np.array([(row[loss], row[f"reference_{loss}"]) for row in mine])
        sums = pairs[random.integers(0, len(pairs), (500, len(pairs)))].sum(axis=1)
        drawn += sums[:, 0] / sums[:, 1] / len(names)
    return float(drawn.std())


def with_error(rows: list[dict], loss: str, horizon: str) -> str:
    return f"{mean_relative(rows, loss, horizon):.3f} ± {standard_error(rows, loss, horizon):.3f}"


def covered(rows: list[dict], horizon: str | None = None) -> dict[str, float]:
    chosen = [row for row in rows if horizon in (None, row["horizon"])]
    names = dict.fromkeys(row["series"] for row in chosen)
    return {name: float(np.mean([r["coverage"] for r in chosen if r["series"] == name])) for name in names}


def table(head: list[str], rows: list[list[str]]) -> str:
    right = ["---" if column == 0 else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, right, *rows])


def bars(results: dict) -> Iterator[tuple[str, str, bool]]:
    """What was promised, what was measured, and whether it holds."""
    contest = results["contest"]
    auto = contest["auto"]
    own = results["own"]
    for (loss, horizon), bar in NOT_ABOVE.items():
        got = mean_relative(own, loss, horizon)
        name = f"{loss} of auto, {horizon}, in units of last week: <= {bar}"
        yield name, with_error(own, loss, horizon), got <= bar
    for peer in (p for p in PEERS if p in contest):
        for horizon in HORIZONS:
            told, below = [], True
            for loss in LOSSES:
                mine, theirs = (mean_relative(rows, loss, horizon) for rows in (auto, contest[peer]))
                told.append(f"{loss} {mine:.3f} against {theirs:.3f}")
                below = below and mine < theirs
            yield f"auto below {PEERS[peer]}, {horizon}", ", ".join(told), below
    average = float(np.mean(list(covered(own).values())))
    yield "the 80 % band covers 0.76..0.86 on average", f"{average:.3f}", 0.76 <= average <= 0.86
    lowest, name, horizon = min((c, n, h) for h in HORIZONS for n, c in covered(own, h).items())
    yield "no series below 0.60", f"{lowest:.2f} ({name}, {horizon})", lowest >= 0.60
    crossings = sum(row["crossed"] for row in [*own, *auto])
    yield "no crossed quantile", str(crossings), crossings == 0
    yield from timing_bars(results["timing"])
    rows = [row for horizon in results["stress"].values() for row in horizon]
    failed = sum(bool(row["faults"]) for row in rows)
    yield (
        "every stress case sound, all forecasters, 24 h and 168 h",
        f"{failed} of {len(rows)} not",
        not failed,
    )


def timing_bars(timing: list[dict]) -> Iterator[tuple[str, str, bool]]:
    for row in timing:
        bar = MILLISECONDS[row["points"], row["horizon"]]
        if row["contender"] == "auto" and bar is not None:
            took = 1000 * row["cpu_seconds"]
            name = f"{row['points']:,} points, {row['horizon']}, processor time on one core"
            yield f"{name}: <= {bar} ms", f"{took:.0f} ms", took <= bar


def contest_tables(contest: dict[str, list[dict]]) -> str:
    head = ["", *(f"{loss} {h}" for h in HORIZONS for loss in LOSSES), "covers", "worst series", "crossed"]
    rows = []
    for name, scored in contest.items():
        losses = [f"{mean_relative(scored, loss, h):.3f}" for h in HORIZONS for loss in LOSSES]
        worst = min(c for h in HORIZONS for c in covered(scored, h).values())
        crossings = sum(row["crossed"] for row in scored)
        average = np.mean(list(covered(scored).values()))
        rows.append([PEERS.get(name, name), *losses, f"{average:.2f}", f"{worst:.2f}", str(crossings)])
    parts = [table(head, rows)]
    for horizon in HORIZONS:
        names = list(contest)
        by_series = {name: relative(contest[name], "pinball", horizon) for name in names}
        lines = []
        for series in by_series[names[0]]:
            best = min(by_series[name][series] for name in names)
            cells = [by_series[name][series] for name in names]
            shown = [f"**{cell:.2f}**" if cell == best else f"{cell:.2f}" for cell in cells]
            lines.append([series, *shown, f"{covered(contest['auto'], horizon)[series]:.2f}"])
        shown_names = [PEERS.get(name, name) for name in names]
        parts.append(
            f"Pinball loss by series, {horizon} ahead, in units of last week's; the lowest in bold; the last "
            f"column is the coverage of auto's band.\n\n{table(['', *shown_names, 'auto covers'], lines)}"
        )
    return "\n\n".join(parts)


def own_table(results: dict) -> str:
    """Auto against last week at the many origins and, of the contest, at the few."""
    head = ["", *(f"{loss} {h}" for h in HORIZONS for loss in LOSSES), "covers"]
    rows = []
    for count, scored in (
        (results["own_origins"], results["own"]),
        (results["origins"], results["contest"]["auto"]),
    ):
        cells = [with_error(scored, loss, h) for h in HORIZONS for loss in LOSSES]
        rows.append(
            [f"all series, {count} origins each", *cells, f"{np.mean(list(covered(scored).values())):.2f}"]
        )
    by_series = {(loss, h): relative(results["own"], loss, h) for h in HORIZONS for loss in LOSSES}
    for name, share in covered(results["own"]).items():
        cells = [f"{by_series[loss, h][name]:.3f}" for h in HORIZONS for loss in LOSSES]
        rows.append([f"{name}, {results['own_origins']} origins", *cells, f"{share:.2f}"])
    return table(head, rows)


def weather_table(results: dict) -> str:
    rows = []
    for series in dict.fromkeys(row["series"] for row in results["weather"]):
        cells = [series]
        for horizon in HORIZONS:
            for loss in LOSSES:
                without = relative(results["contest"]["auto"], loss, horizon)[series]
                given = relative(results["weather"], loss, horizon)[series]
                cells.append(f"{without:.2f} -> {given:.2f} ({100 * (given / without - 1):+.0f} %)")
        rows.append(cells)
    return table(["", *(f"{loss} {h}" for h in HORIZONS for loss in LOSSES)], rows)


def timing_table(timing: list[dict]) -> str:
    timed = {(r["contender"], r["points"], r["horizon"]): r for r in timing}
    rows = []
    for contender in dict.fromkeys(row["contender"] for row in timing):
        found = [timed.get((contender, *key)) for key in MILLISECONDS]
        cells = [f"{1000 * r['cpu_seconds']:.0f} ({1000 * r['seconds']:.0f})" if r else "" for r in found]
        rows.append([PEERS.get(contender, contender), *cells])
    head = ["", "8,760 h -> 24 h", "8,760 h -> 168 h", "35,040 x 15 min -> 24 h", "35,040 x 15 min -> 168 h"]
    return table(head, rows)


def stress_table(results: dict) -> str:
    rows = []
    per_horizon = results["stress"]
    for index, row in enumerate(per_horizon[HORIZONS[0]]):
        cells = [f"({row['case']})" if row["healthy"] else row["case"]]
        verdict = []
        for horizon in HORIZONS:
            here = per_horizon[horizon][index]
            beside = "" if np.isnan(here["clean"]) or here["healthy"] else f" ({here['clean']:.1f})"
            cells.append(f"{here['error']:.1f}{beside}")
            verdict += [f"{name}, {horizon}: {'; '.join(what)}" for name, what in here["faults"].items()]
        rows.append([*cells, "; ".join(verdict) or "sound"])
    return table(["history", *(f"error {h}, % (healthy)" for h in HORIZONS), "all forecasters"], rows)


def versions(with_peers: bool) -> str:
    ours = ", ".join(f"{name} {version(name)}" for name in OUR_PACKAGES)
    if not with_peers:
        return ours
    ask = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    answer = subprocess.run(
        [BENCH_PYTHON, "-c", ask, *PEER_PACKAGES], stdout=subprocess.PIPE, text=True, check=True
    )
    pairs = zip(PEER_PACKAGES, answer.stdout.split(), strict=True)
    return f"{ours}. Peers: {', '.join(f'{name} {number}' for name, number in pairs)}"


def verdict(bar: str, got: str, passed: bool) -> list[str]:
    return [bar, got, "pass" if passed else "**miss**"]


def timed_anew(text: str, timing: list[dict]) -> str:
    """A report with other times: its bars of them, how many are held, and the section of all of them."""
    for bar in timing_bars(timing):
        line = f"| {' | '.join(verdict(*bar))} |"
        text = re.sub(rf"^\| {re.escape(bar[0])} \|.*$", lambda _, line=line: line, text, flags=re.MULTILINE)
    held, missed = text.count("| pass |"), text.count("| **miss** |")
    text = re.sub(r"\d+ of \d+ bars held", f"{held} of {held + missed} bars held", text)
    stamp = f"Measured apart from the rest, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}."
    section = "\n\n".join([TIME, TIME_IS, stamp, timing_table(timing)])
    return re.sub(rf"^{TIME}$.*?(?=^## )", lambda _: f"{section}\n\n", text, flags=re.MULTILINE | re.DOTALL)


def markdown(results: dict, samples: list[Sample], command: str) -> str:
    judged = list(bars(results))
    held = sum(passed for _, _, passed in judged)
    verdicts = [verdict(*bar) for bar in judged]
    shipped = "; ".join(f"{s.name} ({s.provenance}, {s.interval_minutes} min)" for s in samples)
    origins = results["origins"]
    parts = [
        "# Forecast benchmark",
        f"`{command.strip()}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {results['seconds'] / 60:.1f} minutes.\n"
        f"{machine()}. {versions(any(p in results['contest'] for p in PEERS))}.",
        f"{held} of {len(judged)} bars held. How each number is made: `benchmarks/README.md`.",
        table(["bar", "measured", ""], verdicts),
        "## Accuracy",
        f"{len(samples)} series that the project ships: {shipped}. {origins} rolling origins each, over the second "
        "half of the series, at varied hours; at most 8,760 points of history. Losses are in units of the "
        "reference (last week's values with the band of their own past errors), averaged over series.",
        contest_tables(results["contest"]),
        f"The peers take minutes for {origins} origins, too few to tell 0.67 from 0.70: the standard error of auto's "
        f"mean is several hundredths (the origins of each series drawn anew, 500 times). Against last week alone auto "
        f"is therefore judged at {results['own_origins']} origins of each series, over the same half.",
        own_table(results),
        "## What the weather is worth",
        "The same forecasts by auto when it is told the true temperature (and irradiance, for PV) of the horizon: "
        "an upper bound, since a weather forecast errs.",
        weather_table(results),
        TIME,
        TIME_IS,
        timing_table(results["timing"]),
        "## Histories as they come",
        "Error of auto's median in % of the mean absolute truth, in brackets that of the healthy history (rows in "
        "brackets are the healthy ones). Sound: every step there, finite, ordered, not negative where the history "
        "never was, nothing raised; judged for every forecaster.",
        stress_table(results),
    ]
    if results["more"]:
        parts += ["## Series from elsewhere (`--more`)", contest_tables(results["more"])]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit("run `python -m benchmarks.forecast`")
