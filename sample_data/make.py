# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["pvlib==0.16.1", "pandas==3.1.1"]
# ///
"""Make the files of this folder again from the packages that carry their sources.

    pip download --no-deps -d wheels pmdarima==2.1.1 eemeter==4.1.1 pvlib==0.16.1
    uv run sample_data/make.py --wheels wheels

Writes byte for byte the same files every time. With `--held-out DIR` it writes, instead, the other
series of the same packages, on which no forecaster was tuned, for `benchmarks/forecast.py --more DIR`.

pvlib turns weather into PV generation here; the service itself does not need it.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pvlib import iotools, irradiance, pvsystem, solarposition, temperature

HERE = Path(__file__).parent
EEMETER = "eemeter/eemeter/samples/"
TYPICAL_YEAR = 2023  # the calendar a typical year is written on; its months are from several years

PV_PEAK_KW = 100.0
PV_TILT_DEGREES = 25.0
PV_AZIMUTH_DEGREES = 180.0
PV_POWER_PER_KELVIN = -0.004
PV_SYSTEM_LOSSES = 0.14  # PVWatts v5 default: soiling, wiring, mismatch, availability
PV_INVERTER_KW = 85.0


@dataclass(frozen=True)
class Wheels:
    """The downloaded packages, read without installing them."""

    folder: Path

    def read(self, package: str, name: str) -> bytes:
        (wheel,) = self.folder.glob(f"{package}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name)

    def eemeter(self, name: str) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(gzip.decompress(self.read("eemeter", f"{EEMETER}{name}.csv.gz"))))


def write(frame: pd.DataFrame, path: Path) -> None:
    """Gzip without a clock or a name inside, so that the same data is the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = frame.to_csv(index=False, lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def utc(times: pd.Series[Any] | pd.DatetimeIndex) -> list[str]:
    return [stamp.strftime("%Y-%m-%dT%H:%M:%SZ") for stamp in times]


def national_demand(wheels: Wheels) -> pd.DataFrame:
    """Half-hourly demand of England and Wales, Monday 5 June to Sunday 27 August 2000, MW.

    The source is a bare list of numbers. The dates are from its documentation. That they are clock
    times is read from the data: working days ramp up from 06:00 to 08:00, as they do on a British clock.
    """
    tree = ast.parse(wheels.read("pmdarima", "pmdarima/datasets/taylor.py"))
    (values,) = [
        [ast.literal_eval(element) for element in node.elts]
        for node in ast.walk(tree)
        if isinstance(node, ast.List) and len(node.elts) > 1000
    ]
    times = pd.date_range("2000-06-05", periods=len(values), freq="30min")
    return pd.DataFrame({"timestamp": times.strftime("%Y-%m-%d %H:%M"), "value": values})


def meter(wheels: Wheels, name: str, since: str = "1900-01-01") -> pd.DataFrame:
    frame = wheels.eemeter(name)
    times = pd.to_datetime(frame["start"], utc=True)
    kept = times >= pd.Timestamp(since, tz="UTC")
    values = frame["value"][kept].round(6)  # the source carries sums of floats: 0.028999999999999998
    return pd.DataFrame({"timestamp": utc(times[kept]), "value": values.to_numpy()})


def on_local_clock(frame: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Drop the zone, as many exports do: the hour of the autumn change comes twice, that of spring never."""
    clock = pd.to_datetime(frame["timestamp"], utc=True).dt.tz_convert(zone)
    return frame.assign(timestamp=clock.dt.strftime("%Y-%m-%d %H:%M"))


def storage_heating(wheels: Wheels) -> pd.DataFrame:
    """The half-hourly meter `sample-2`, its swapped days and months put right, where temperature is known.

    In the source every date whose day is 12 or less has day and month exchanged: the autocorrelation
    at one day is 0.77 as it stands and 0.87 put right, and what looked like ten gaps of two days is
    whole. The doubled midnight at each extraction of 31 days is left in, as is each half-hour missing.
    """
    frame = wheels.eemeter("uk-electricity-hdd-only-hourly-sample-2")
    times = [pd.Timestamp(text) for text in frame["start"]]
    frame["time"] = [t.replace(month=t.day, day=t.month) if t.day <= 12 else t for t in times]
    frame = frame.sort_values("time", kind="stable")
    frame = frame[(frame["time"] >= "2012-10-12") & (frame["time"] < "2014-01-25 07:00")]
    return pd.DataFrame({"timestamp": utc(frame["time"]), "value": frame["value"].round(6).to_numpy()})


def temperature_beside(wheels: Wheels, name: str, meters: pd.DataFrame) -> pd.DataFrame:
    """Hourly air temperature over the span of a meter, degC."""
    frame = wheels.eemeter(name)
    times = pd.to_datetime(frame["dt"], utc=True)
    celsius = frame["tempC"] if "tempC" in frame else (frame["tempF"] - 32) / 1.8
    first, last = pd.to_datetime(meters["timestamp"].iloc[[0, -1]], utc=True)
    kept = (times >= first) & (times <= last)
    return pd.DataFrame({"timestamp": utc(times[kept]), "temperature": celsius[kept].round(2).to_numpy()})


def typical_year(wheels: Wheels, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weather of a TMY3 file and the output of a PV plant below it: (weather, generation), hourly.

    TMY3 stamps the end of the hour its irradiance belongs to, in standard time without daylight
    saving; both frames are stamped in UTC with the start of that hour. Generation is the mean AC
    power of the hour in kW by PVWatts v5 (Dobos 2014) with the sun where it is in mid-hour.
    The file's precipitation adds up to 8,300 mm a year, eight times what falls there, and is left out.
    """
    source = Path(name).name
    scratch = HERE / source
    scratch.write_bytes(wheels.read("pvlib", name))  # read_tmy3 takes a path
    try:
        year, site = iotools.read_tmy3(scratch, coerce_year=TYPICAL_YEAR)
    finally:
        scratch.unlink()
    start = year.index.tz_convert("UTC") - pd.Timedelta(hours=1)
    weather = pd.DataFrame(
        {
            "timestamp": utc(start),
            "temperature": year["temp_air"].to_numpy(),
            "humidity": year["relative_humidity"].to_numpy(),
            "solar_irradiance": year["ghi"].to_numpy(),
            "wind_speed": year["wind_speed"].to_numpy(),
            "wind_direction": year["wind_direction"].to_numpy(),
            "cloud_cover": 10 * year["TotCld (tenths)"].to_numpy(),
            "pressure": year["pressure"].to_numpy(),
        }
    )
    power = pv_power(year.set_index(start + pd.Timedelta(minutes=30)), site)
    return weather, pd.DataFrame({"timestamp": utc(start), "value": power.round(3).to_numpy()})


def pv_power(year: pd.DataFrame, site: dict[str, Any]) -> pd.Series[float]:
    sun = solarposition.get_solarposition(year.index, site["latitude"], site["longitude"], site["altitude"])
    plane = irradiance.get_total_irradiance(
        PV_TILT_DEGREES,
        PV_AZIMUTH_DEGREES,
        sun["apparent_zenith"],
        sun["azimuth"],
        year["dni"],
        year["ghi"],
        year["dhi"],
    )["poa_global"].clip(lower=0)
    open_rack = temperature.TEMPERATURE_MODEL_PARAMETERS["sapm"]["open_rack_glass_polymer"]
    cell = temperature.sapm_cell(plane, year["temp_air"], year["wind_speed"], **open_rack)
    dc = pvsystem.pvwatts_dc(plane, cell, PV_PEAK_KW, PV_POWER_PER_KELVIN) * (1 - PV_SYSTEM_LOSSES)
    generation: pd.Series[float] = pvsystem.inverter.pvwatts(dc, PV_INVERTER_KW / 0.96)
    return generation.clip(lower=0).fillna(0)


def make_sample_site(wheels: Wheels) -> None:
    write(national_demand(wheels), HERE / "demand_england_wales.csv.gz")
    electricity = meter(wheels, "uk-electricity-hdd-only-hourly-sample-0", since="2020-12-06")
    write(electricity, HERE / "home_electricity_uk.csv.gz")
    write(meter(wheels, "uk-gas-hdd-only-hourly-sample-0", since="2020-12-06"), HERE / "home_gas_uk.csv.gz")
    write(temperature_beside(wheels, "uk-tempC-sample-0", electricity), HERE / "home_uk_weather.csv.gz")
    heating = storage_heating(wheels)
    write(heating, HERE / "storage_heating_uk.csv.gz")
    write(
        temperature_beside(wheels, "uk-tempC-sample-1_2", heating), HERE / "storage_heating_uk_weather.csv.gz"
    )
    illinois = meter(wheels, "il-electricity-cdd-only-hourly", since="2016-02-08T06:00")
    write(on_local_clock(illinois, "America/Chicago"), HERE / "home_electricity_illinois.csv.gz")
    write(temperature_beside(wheels, "il-tempF", illinois), HERE / "home_illinois_weather.csv.gz")
    weather, generation = typical_year(wheels, "pvlib/data/723170TYA.CSV")
    write(generation, HERE / "pv_greensboro.csv.gz")
    write(weather, HERE / "pv_greensboro_weather.csv.gz")


HELD_OUT = (  # asset_id, kind, time zone, country, source, weather
    ("home-illinois-heated", "load", "America/Chicago", "US", "il-electricity-cdd-hdd-hourly", "il-tempF"),
    ("gas-illinois-heating", "load", "America/Chicago", "US", "il-gas-hdd-only-hourly", "il-tempF"),
    (
        "home-uk-half-hourly",
        "load",
        "Europe/London",
        "GB",
        "uk-electricity-hdd-only-hourly-sample-1",
        "uk-tempC-sample-1_2",
    ),
)


def make_held_out(wheels: Wheels, folder: Path) -> None:
    assets: list[tuple[str, str, str, str | None, int, list[str]]] = []
    for asset_id, kind, zone, country, source, weather in HELD_OUT:
        readings = meter(wheels, source)
        write(readings, folder / f"{asset_id}.csv.gz")
        write(temperature_beside(wheels, weather, readings), folder / f"{asset_id}_weather.csv.gz")
        assets.append((asset_id, kind, zone, country, 30 if "half" in asset_id else 60, ["temperature"]))
    conditions, generation = typical_year(wheels, "pvlib/data/703165TY.csv")
    write(generation, folder / "pv-alaska.csv.gz")
    write(conditions, folder / "pv-alaska_weather.csv.gz")
    assets.append(("pv-alaska", "generation", "Etc/GMT+9", None, 60, ["temperature", "solar_irradiance"]))
    described = [
        {
            "asset_id": asset_id,
            "kind": kind,
            "timezone": zone,
            "country": country,
            "interval_minutes": minutes,
            "file": f"{asset_id}.csv.gz",
            "file_timezone": None,
            "columns": {"timestamp": "timestamp", "value": "value"},
            "weather": {"file": f"{asset_id}_weather.csv.gz", "columns": columns},
        }
        for asset_id, kind, zone, country, minutes, columns in assets
    ]
    (folder / "site.json").write_text(json.dumps({"tenant": "held-out", "assets": described}, indent=2))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--wheels", type=Path, required=True, help="folder with the three wheels")
    arguments.add_argument("--held-out", type=Path, help="write the other series of the wheels here instead")
    options = arguments.parse_args()
    wheels = Wheels(options.wheels)
    if options.held_out:
        make_held_out(wheels, options.held_out)
    else:
        make_sample_site(wheels)


if __name__ == "__main__":
    main()
