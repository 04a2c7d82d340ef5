"""How often features of undisturbed sites pass their limits, and how often faults in the weather are found.

python -m benchmarks.drift [--write docs/benchmarks/drift.md]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.sites import Sample, read_site
from features import compute
from features.catalog import FEATURES, features_named
from forecasting.drift import Course, index_of, is_slow, limit_of

SAMPLE = Path(__file__).parent.parent / "sample_data"
LEAST = 0.5  # DRIFT_STABILITY_INDEX
HOUR_US, DAY_US = compute.HOUR_US, compute.DAY_US
OF_READINGS = (
    *("lag_1h", "lag_24h", "lag_168h", "rolling_avg_24h", "rolling_std_24h", "max_24h"),
    *("rolling_avg_168h", "rolling_max_168h"),
)
FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "°F instead of °C": lambda degrees: degrees * 9 / 5 + 32,
    "stands still at 0 °C": lambda degrees: degrees * 0,
    "10 °C too much": lambda degrees: degrees + 10,
    "5 °C too much": lambda degrees: degrees + 5,
}
WEEKS = (4, 3, 2)


def courses(site: Sample) -> dict[str, Course]:
    start = site.start.value // 1000
    times = start + site.interval_minutes * 60_000_000 * np.arange(site.values.size)
    known = np.isfinite(site.values)
    past = compute.Past(
        times[known], site.values[known], times, site.weather, site.timezone, site.interval_minutes
    )
    moments = np.arange(start, times[-1], HOUR_US)
    rows = compute.rows(features_named([*OF_READINGS, *site.weather]), past, moments)
    return {name: Course(moments, values) for name, values in rows.items()}


def ends(course: Course) -> range:
    """Of windows a week apart, the first with as much before it."""
    first, last = int(course.times_us[0]), int(course.times_us[-1])
    return range(first + 56 * DAY_US, last, 7 * DAY_US)


def undisturbed(sites: list[Sample]) -> list[str]:
    counted: dict[str, list[tuple[float, float | None, float | None]]] = defaultdict(list)
    for site in sites:
        for name, course in courses(site).items():
            for end in ends(course):
                index = index_of(course, end)
                if np.isfinite(index):
                    limits = (limit_of(course, end, least=LEAST, is_slow=slow) for slow in (True, False))
                    counted[name].append((index, *limits))
    lines = []
    for name, found in counted.items():
        plain = [index > LEAST for index, _, _ in found]
        tried = [index > limit for index, limit, _ in found if limit is not None]
        untried = [index > limit for index, own, limit in found if own is None and limit is not None]
        wide = "not judged" if is_slow(FEATURES[name]) else share(untried)
        lines.append(f"| {name} | {share(plain)} | {share(tried)} | {wide} |")
    return lines


def found_faults(sites: list[Sample]) -> list[str]:
    counted: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for site in sites:
        course = courses(site).get("temperature")
        for end in ends(course) if course else ():
            limit = limit_of(course, end, least=LEAST, is_slow=True)
            if limit is None:
                continue
            for fault, broken in FAULTS.items():
                for weeks in WEEKS:
                    since = (course.times_us >= end - 7 * weeks * DAY_US) & (course.times_us < end)
                    values = np.where(since, broken(course.values), course.values)
                    counted[fault, weeks].append(index_of(Course(course.times_us, values), end) > limit)
    return [
        f"| {fault} | {' | '.join(share(counted[fault, weeks]) for weeks in WEEKS)} |" for fault in FAULTS
    ]


def share(passed: list[bool]) -> str:
    return f"{np.mean(passed):.0%} of {len(passed)}" if passed else "–"


def report() -> str:
    sites = read_site(SAMPLE)
    return "\n".join(
        [
            "# Drift of features",
            "",
            "The six sample sites, nothing wrong with them: share of the windows, a week apart, whose population stability index",
            f"passes {LEAST}; the limit of the year before, where 26 weeks of it are known; and four times {LEAST}, which holds",
            "until then. Windows a week apart share three quarters of their values, so these are rough.",
            "",
            f"| Feature | above {LEAST} | above the year before | until it is known |",
            "|---|---|---|---|",
            *undisturbed(sites),
            "",
            "## Faults of a thermometer",
            "",
            "Share of the windows that are flagged when the last weeks of them have the fault, against the year before.",
            "",
            "| Fault | for 4 weeks | for 3 weeks | for 2 weeks |",
            "|---|---|---|---|",
            *found_faults(sites),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    found = report()
    if asked.write:
        asked.write.write_text(found)
    print(found)


if __name__ == "__main__":
    main()
