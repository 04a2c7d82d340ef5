"""One running product for the faults of a process, and the table that `make chaos` prints."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.load import Load
from tests.chaos.product import Product, eventually, product_in_a_folder

HEADINGS = ("Fault", "Requests", "Errors by kind", "Lost", "Recovered after, s")
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each question of a load
Tell = Callable[..., None]


@pytest.fixture(scope="session")
def running() -> Iterator[Product]:
    with product_in_a_folder() as product:
        yield product


@pytest.fixture
def product(running: Product) -> Iterator[Product]:
    """Whole before a fault, and whole again after it."""
    yield running
    running.clock.unlink(missing_ok=True)
    eventually(lambda: set(running.states().values()) <= {"healthy", "not_installed"})


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """A line of the table: the fault, what the callers met, what was lost, and when all was as before."""

    def tell(
        fault: str, load: Load | None = None, *, lost: int = 0, recovered_s: float | None = None
    ) -> None:
        errors = ", ".join(f"{count} x {kind}" for kind, count in load.errors.items()) if load else ""
        line = [
            fault,
            str(load.requests) if load else "",
            errors or ("none" if load else ""),
            str(lost),
            "" if recovered_s is None else f"{recovered_s:.1f}",
        ]
        record_property("fault", json.dumps(line))

    return tell


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))  # the first has to wait for a product to start


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Where this folder was asked for by name; elsewhere it is a test among many."""
    lines = [
        json.loads(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "fault"
    ]
    if not lines:
        return
    terminalreporter.write_line("")
    widths = [max(map(len, column)) for column in zip(HEADINGS, *lines, strict=True)]
    for line in (HEADINGS, ["-" * width for width in widths], *lines):
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        terminalreporter.write_line(f"| {' | '.join(cells)} |")
