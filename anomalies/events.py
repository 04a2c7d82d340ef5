"""From flagged points to what a person is called for: one event for one run of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

SEVERITIES = ("low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True)
class Event:
    """Points flagged one after another. peak: the row of the highest score, as answered."""

    first_at: datetime
    last_at: datetime
    points: int
    severity: str
    peak: dict[str, Any]
    at: frozenset[datetime]


def is_as_severe(severity: str, least: str) -> bool:
    """
    >>> [is_as_severe(s, "medium") for s in SEVERITIES]
    [False, True, True, True]
    """
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def events(rows: Sequence[dict[str, Any]], *, apart: timedelta, least: str) -> list[Event]:
    """The runs of flagged points of which one at least is as severe as `least`.

    Args:
        rows: flagged points as a detection keeps them, by time.
        apart: two flagged points further from each other belong to two events.
    """
    runs: list[list[dict[str, Any]]] = []
    last_at: datetime | None = None
    for row in rows:
        at = datetime.fromisoformat(row["timestamp"])
        if last_at is None or at - last_at > apart:
            runs.append([])
        runs[-1].append(row)
        last_at = at
    found = [_event(run) for run in runs]
    return [event for event in found if is_as_severe(event.severity, least)]


def _event(run: Sequence[dict[str, Any]]) -> Event:
    peak = max(run, key=lambda row: float(row["anomaly_score"]))
    at = [datetime.fromisoformat(row["timestamp"]) for row in run]
    return Event(at[0], at[-1], len(run), peak["severity"], peak, frozenset(at))
