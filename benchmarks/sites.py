"""Read a folder with a `site.json` (such as `sample_data/`) into regular series for the benchmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Sample:
    """One asset of a site on a regular grid of UTC times.

    values: shape (n,), NaN where the file has no reading. weather: by name, on the same grid.
    """

    name: str
    kind: str
    unit: str
    provenance: str
    timezone: str
    country: str | None
    subdivision: str | None
    interval_minutes: int
    start: pd.Timestamp
    values: np.ndarray
    weather: dict[str, np.ndarray]

    @property
    def day(self) -> int:
        return 24 * 60 // self.interval_minutes

    def question(self) -> dict[str, Any]:
        """What a contender is told about the series, as JSON."""
        return {
            "start": self.start.isoformat(),
            "interval_minutes": self.interval_minutes,
            "timezone": self.timezone,
            "country": self.country,
            "subdivision": self.subdivision,
            "values": _nullable(self.values),
            "weather": {name: _nullable(values) for name, values in self.weather.items()},
        }


def read_site(folder: Path) -> list[Sample]:
    described = json.loads((folder / "site.json").read_text())
    return [_read_asset(folder, asset) for asset in described["assets"]]


def _read_asset(folder: Path, asset: dict[str, Any]) -> Sample:
    columns, minutes = asset["columns"], asset["interval_minutes"]
    frame = pd.read_csv(folder / asset["file"])
    times = _utc(frame[columns["timestamp"]], asset["file_timezone"])
    readings = pd.Series(frame[columns["value"]].to_numpy(dtype=float), index=times)
    grid = pd.date_range(times.min(), times.max(), freq=f"{minutes}min")
    readings = readings.groupby(level=0).mean().reindex(grid)
    weather = {}
    if asset.get("weather"):
        known = pd.read_csv(folder / asset["weather"]["file"])
        seconds = _seconds(_utc(known["timestamp"], None))
        for name in asset["weather"]["columns"]:
            weather[name] = np.interp(_seconds(grid), seconds, known[name].to_numpy(dtype=float))
    return Sample(
        name=asset["asset_id"],
        kind=asset["kind"],
        unit=asset.get("unit", ""),
        provenance=asset.get("provenance", ""),
        timezone=asset["timezone"],
        country=asset["country"],
        subdivision=asset.get("subdivision"),
        interval_minutes=minutes,
        start=grid[0],
        values=readings.to_numpy(),
        weather=weather,
    )


def _utc(texts: pd.Series, zone: str | None) -> pd.DatetimeIndex:
    """Instants without a zone; a local hour that comes twice in autumn is taken in file order."""
    times = pd.DatetimeIndex(pd.to_datetime(texts))
    if zone is not None:
        times = times.tz_localize(zone, ambiguous="infer").tz_convert("UTC")
    return times.tz_localize(None) if times.tz is not None else times


def _seconds(times: pd.DatetimeIndex) -> np.ndarray:
    return times.to_numpy().astype("datetime64[s]").astype(np.int64)


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
