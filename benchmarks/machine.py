"""What a report says of the machine it was made on."""

from __future__ import annotations

import os
import platform
import timeit
from pathlib import Path

COUNTED = 1_000_000


def machine() -> str:
    """Its processor and load, and how fast it is now: by this two reports of different days can be told apart."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"Python {platform.python_version()}, {_processor()}, {os.cpu_count()} cores seen, load average {load}, "
        f"{platform.platform()}; a loop of Python that adds up a million numbers takes {yardstick_ms():.0f} ms here"
    )


def yardstick_ms() -> float:
    """The least of nine."""
    return 1000 * min(timeit.repeat(_counted, number=1, repeat=9))


def _counted() -> int:
    total = 0
    for number in range(COUNTED):
        total += number
    return total


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
