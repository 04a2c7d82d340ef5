"""From a score to a decision and a word."""

from __future__ import annotations


def threshold(sensitivity: float) -> float:
    """Score from which a point is flagged, in standard deviations; 1..5 gives 2..5, never falling.

    >>> [threshold(s) for s in (1, 2, 3, 4, 5)]
    [2.0, 2.5, 3.0, 4.0, 5.0]
    """
    return 2.0 + (sensitivity - 1.0) / 2.0 if sensitivity <= 3.0 else float(sensitivity)


def severity_of(score: float) -> str:
    """Low from the threshold, medium from 2.5, high from 3.5, critical above 4.5.

    >>> [severity_of(s) for s in (2.4, 2.5, 3.5, 4.5, 4.6)]
    ['low', 'medium', 'high', 'high', 'critical']
    """
    if score > 4.5:
        return "critical"
    if score >= 3.5:
        return "high"
    return "medium" if score >= 2.5 else "low"
