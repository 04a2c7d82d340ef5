"""How many of the injected faults anybody could find: by one who is told the clean series. See README.md beside it.

python -m benchmarks.oracle [--seeds 101 102 103 104]
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from anomalies.detectors.base import Problem
from anomalies.detectors.grid import on_grid
from anomalies.detectors.profile import profile_of
from benchmarks.faults import KINDS, Event, cases
from benchmarks.sites import Sample, read_site

RATES = (0.015, 0.005, 0.002)  # chances of a false alarm at an event's hours
CLIP = 8.0  # spreads; one wild reading is no stretch
SAID = ("missing_block", "stuck")  # which need no size


def rarities(sample: Sample, seed: int) -> list[tuple[str, float]]:
    """Of each event its kind and on what share of all other days the clean series is as far off at its hours.

    By the mean of the deviations from a profile of the whole clean series, or by the largest, whichever is rarer.
    """
    step = np.timedelta64(sample.interval_minutes, "m")
    start = sample.start.to_datetime64().astype("datetime64[us]")
    times = (start + np.arange(sample.values.size) * step).astype(np.int64)
    grid = on_grid(Problem(times, sample.values, timezone=sample.timezone))
    profile = profile_of(grid, grid.values)
    clean = profile.deviations(grid.values)
    found = []
    for case in cases(sample, seed):
        begin = int((case.times[0] - start) / step)
        now = sample.values.copy()
        now[begin : begin + case.values.size] = case.values
        z = profile.deviations(now)
        found += [
            (event.kind, 0.0 if event.kind in SAID else _rarity(event, begin, z, clean, sample.day))
            for event in case.events
        ]
    return found


def _rarity(event: Event, begin: int, z: np.ndarray, clean: np.ndarray, day: int) -> float:
    at = begin + event.points
    days = np.arange(-(at[-1] // day), (clean.size - at[-1]) // day)
    there = at[None, :] + day * days[days != 0][:, None]
    others = clean[there[(there >= 0).all(axis=1)]]
    others = others[np.isfinite(others).all(axis=1)]
    mean = np.clip(z[at], -CLIP, CLIP).mean()
    sign = 1.0 if mean >= 0 else -1.0
    as_far = sign * np.clip(others, -CLIP, CLIP).mean(axis=1) >= sign * mean
    as_large = (sign * others).max(axis=1) >= (sign * z[at]).max()
    return float(min(as_far.mean(), as_large.mean()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104])
    seeds = arguments.parse_args().seeds
    events, hits = Counter(), Counter()
    for sample in read_site(Path(__file__).parent.parent / "sample_data"):
        for seed in seeds:
            for kind, rarity in rarities(sample, seed):
                for key in (str(kind), "all"):
                    events[key] += 1
                    hits.update((key, rate) for rate in RATES if rarity < rate)
    print("| kind | events | " + " | ".join(f"below {1000 * rate:.0f} in 1,000" for rate in RATES) + " |")
    print("| --- |" + " ---: |" * (1 + len(RATES)))
    for key in (*KINDS, "all"):
        cells = [f"{hits[key, rate] / events[key]:.3f}" for rate in RATES]
        print(f"| {key.replace('_', ' ')} | {events[key]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
