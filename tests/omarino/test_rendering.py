"""What goes out as JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from omarino.api import JSONRenderer


def test_numbers_past_64_bits_are_written_as_floats() -> None:
    kept = {"rate": 10**30, "deep": [{"low": -(2**70)}], "whole": 2**62}

    assert JSONRenderer().render(kept) == (
        b'{"rate":1e+30,"deep":[{"low":-1.1805916207174113e+21}],"whole":4611686018427387904}'
    )


def test_times_are_in_utc_and_arrays_are_lists() -> None:
    body = {"at": datetime(2025, 1, 1, 12, tzinfo=UTC), "values": np.array([1.5, 2.0])}

    assert JSONRenderer().render(body) == b'{"at":"2025-01-01T12:00:00Z","values":[1.5,2.0]}'
