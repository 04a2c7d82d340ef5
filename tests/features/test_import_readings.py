"""manage.py import_readings: files as meters and people make them."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from django.core.management import CommandError, call_command

from features.models import Asset, Reading, Weather

pytestmark = pytest.mark.django_db
Import = Callable[..., str]


@pytest.fixture
def load(tmp_path: Path) -> Import:
    """Import this text, or these bytes, as tenant alpha's main-meter; gives what the command said."""

    def load(content: str | bytes, name: str = "meter.csv", **options: Any) -> str:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        said = io.StringIO()
        call_command("import_readings", str(file), tenant="alpha", asset="main-meter", stdout=said, **options)
        return said.getvalue()

    return load


def stored(metric: str = "value") -> dict[str, float]:
    rows = Reading.objects.for_tenant("alpha").filter(asset_id="main-meter", metric=metric)
    return {f"{row.timestamp:%Y-%m-%d %H:%M}": row.value for row in rows.order_by("timestamp")}


def counts(said: str) -> dict[str, int]:
    return {
        name: int(n.replace(",", ""))
        for name, n in re.findall(r"(accepted|updated|unchanged|rejected) ([\d,]+)", said)
    }


HOURS = "timestamp,value\n2025-01-01T00:00:00Z,1.5\n2025-01-01T01:00:00Z,-2\n2025-01-01T02:00:00Z,0\n"
HOURS_STORED = {"2025-01-01 00:00": 1.5, "2025-01-01 01:00": -2.0, "2025-01-01 02:00": 0.0}


def test_a_csv_file_is_stored_and_the_summary_says_so(load: Import) -> None:
    said = load(HOURS, unit="kW", kind="load", country="GB", timezone="Europe/London")

    assert stored() == HOURS_STORED
    assert counts(said) == {"accepted": 3, "updated": 0, "unchanged": 0, "rejected": 0}
    assert "separator ','; timestamp = 'timestamp', value = 'value'" in said
    asset = Asset.objects.get()
    assert (asset.tenant_id, asset.asset_id, asset.unit, asset.kind) == ("alpha", "main-meter", "kW", "load")
    assert (asset.timezone, asset.country, asset.interval_minutes) == ("Europe/London", "GB", 60)


def test_the_same_file_again_changes_nothing(load: Import) -> None:
    load(HOURS)
    before = list(Reading.objects.order_by("timestamp").values())

    said = load(HOURS)

    assert counts(said) == {"accepted": 0, "updated": 0, "unchanged": 3, "rejected": 0}
    assert list(Reading.objects.order_by("timestamp").values()) == before


def test_a_corrected_file_updates_what_differs_and_only_that(load: Import) -> None:
    load(HOURS)
    arrived = dict(Reading.objects.values_list("value", "available_at"))

    said = load(HOURS.replace("-2", "-2.5") + "2025-01-01T03:00:00Z,4\n")

    assert counts(said) == {"accepted": 1, "updated": 1, "unchanged": 2, "rejected": 0}
    assert stored() == {**HOURS_STORED, "2025-01-01 01:00": -2.5, "2025-01-01 03:00": 4.0}
    assert Reading.objects.get(value=1.5).available_at == arrived[1.5]


@pytest.mark.parametrize("name", ["meter.csv.gz", "meter.csv"])
def test_gzip_is_known_by_its_content(load: Import, name: str) -> None:
    load(gzip.compress(HOURS.encode()), name)

    assert stored() == HOURS_STORED


def parquet(table: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(table), sink)
    return sink.getvalue()


TIMES = [datetime(2025, 1, 1, hour) for hour in range(3)]  # noqa: DTZ001  a file without a zone


def test_parquet_with_times_that_know_their_zone(load: Import) -> None:
    times = pa.array(TIMES, pa.timestamp("ns")).cast(pa.timestamp("ns", "UTC"))
    load(parquet({"timestamp": times, "value": [1.5, -2.0, 0.0]}), timezone="Asia/Tokyo")

    assert stored() == HOURS_STORED


def test_parquet_with_times_of_a_local_clock_and_whole_numbers(load: Import) -> None:
    said = load(
        parquet({"time": pa.array(TIMES, pa.timestamp("ms")), "load": pa.array([1, None, 3], pa.int32())}),
        timezone="Europe/Berlin",
    )

    assert stored() == {"2024-12-31 23:00": 1.0, "2025-01-01 01:00": 3.0}
    assert "row 2: no value" in said


def test_parquet_with_texts(load: Import) -> None:
    load(parquet({"timestamp": ["2025-01-01T00:00Z"], "value": ["7.25"]}))

    assert stored() == {"2025-01-01 00:00": 7.25}


def test_a_wide_file_has_a_metric_a_column(load: Import) -> None:
    said = load("time,grid,solar\n2025-01-01 00:00,1,2\n2025-01-01 01:00,3,x\n", wide=True)

    assert stored("grid") == {"2025-01-01 00:00": 1.0, "2025-01-01 01:00": 3.0}
    assert stored("solar") == {"2025-01-01 00:00": 2.0}
    assert "line 3: solar: 'x' is not a number with the decimal mark '.'" in said


def test_named_columns_get_named_metrics(load: Import) -> None:
    load(
        "when,P in kW,Q,other\n2025-01-01 00:00,1,2,9\n",
        timestamp_column="when",
        value_column=["P in kW", "Q"],
        metric=["value", "reactive"],
    )

    assert (stored(), stored("reactive")) == ({"2025-01-01 00:00": 1.0}, {"2025-01-01 00:00": 2.0})


def test_a_long_file_has_a_metric_a_row(load: Import) -> None:
    said = load(
        "timestamp,metric,value\n2025-01-01 00:00,value,1\n2025-01-01 00:00,price,80\n2025-01-01 01:00,pri ce,9\n"
    )

    assert (stored(), stored("price")) == ({"2025-01-01 00:00": 1.0}, {"2025-01-01 00:00": 80.0})
    assert "line 4: 'pri ce' is no name of a metric" in said


def test_quality_is_kept_in_small_letters(load: Import) -> None:
    load("timestamp,value,quality\n2025-01-01 00:00,1,Good\n2025-01-01 01:00,2,\n2025-01-01 02:00,3,BAD \n")

    assert dict(Reading.objects.values_list("value", "quality")) == {1.0: "good", 2.0: None, 3.0: "bad"}


def test_a_change_of_quality_alone_is_an_update(load: Import) -> None:
    load("timestamp,value,quality\n2025-01-01 00:00,1,\n2025-01-01 01:00,2,good\n")

    said = load("timestamp,value,quality\n2025-01-01 00:00,1,estimated\n2025-01-01 01:00,2,good\n")

    assert counts(said) == {"accepted": 0, "updated": 1, "unchanged": 1, "rejected": 0}


def test_bad_rows_are_named_with_line_and_reason_and_the_good_ones_stored(load: Import) -> None:
    said = load(
        "timestamp,value\n"  # line 1
        "2025-01-01 00:00,1\n"
        "2025-01-01 01:00,\n"
        "2025-01-01 02:00,NaN\n"
        "\n"
        "2025-01-01 03:00,-inf\n"
        "2025-01-01 04:00,1e999\n"
        "2025-01-01 05:00,abc\n"
        "2025-01-01 06:00,1,5\n"
        "2025-01-01 07:00\n"
        ",3\n"
        "31.12.2025,4\n"
        "2025-02-30 00:00,5\n"
        "2025-01-01 08:00, 6 \n"
        "2025-01-01 09:00,1_0\n"
        "2025-01-01 10:00,2e15\n"
        "2025-01-01 11:00,1e3\n"
    )

    assert stored() == {"2025-01-01 00:00": 1.0, "2025-01-01 08:00": 6.0, "2025-01-01 11:00": 1000.0}
    assert dict(re.findall(r"line (\d+): (.*)", said)) == {
        "3": "no value",
        "4": "NaN is not a finite number",
        "6": "-inf is not a finite number",
        "7": "inf is not a finite number",
        "8": "'abc' is not a number with the decimal mark '.'",
        "9": "3 columns instead of 2",
        "10": "1 columns instead of 2",
        "11": "no timestamp",
        "12": "'31.12.2025' is not an ISO 8601 timestamp",
        "13": "'2025-02-30 00:00' is not an ISO 8601 timestamp",
        "15": "'1_0' is not a number with the decimal mark '.'",
        "16": "2e+15 is beyond 1e+15",
    }
    assert counts(said)["rejected"] == 12


def test_line_numbers_hold_across_blocks_of_a_large_file(
    load: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.readings_file.BLOCK_BYTES", 512)
    lines = [f"2025-01-{1 + hour // 24:02}T{hour % 24:02}:00Z,{hour}" for hour in range(400)]
    lines[100] += ",too many"
    lines[150] = ""
    lines[300] = lines[300].replace("300", "bad")

    said = load("timestamp,value\n" + "\n".join(lines), show_rejected=5)

    assert re.findall(r"line (\d+)", said) == ["102", "302"]
    assert counts(said) == {"accepted": 397, "updated": 0, "unchanged": 0, "rejected": 2}


def test_only_the_first_rejections_are_named_and_all_are_counted(load: Import) -> None:
    said = load("timestamp,value\n2025-01-01,1\n" + "2025-01-02,x\n" * 50, show_rejected=3)

    assert len(re.findall(r"line \d+:", said)) == 3
    assert "and 47 more" in said
    assert counts(said)["rejected"] == 50


def test_of_a_time_that_comes_twice_the_last_counts(load: Import) -> None:
    text = "timestamp,value\n2025-01-01 01:00,1\n2025-01-01 00:00,2\n2025-01-01 01:00,3\n"

    said = load(text)
    again = load(text)

    assert stored() == {"2025-01-01 00:00": 2.0, "2025-01-01 01:00": 3.0}
    assert counts(said)["accepted"] == 2
    assert "1 came twice" in said
    assert counts(again) == {"accepted": 0, "updated": 0, "unchanged": 2, "rejected": 0}


def test_both_changes_of_the_clock_are_read_by_the_zone(load: Import) -> None:
    spring = [f"2025-03-30 {clock},1" for clock in ("01:00", "01:30", "02:30", "03:00")]
    autumn = [f"2025-10-26 {clock},1" for clock in ("02:00", "02:30", "02:00", "02:30", "03:00")]

    said = load("\n".join(["timestamp,value", *spring, *autumn]), timezone="Europe/Berlin")

    assert list(stored()) == [
        *("2025-03-30 00:00", "2025-03-30 00:30", "2025-03-30 01:00"),
        *("2025-10-26 00:00", "2025-10-26 00:30", "2025-10-26 01:00", "2025-10-26 01:30", "2025-10-26 02:00"),
    ]
    assert "line 4: 2025-03-30 02:30:00 does not exist in Europe/Berlin" in said


def test_a_european_file_needs_to_be_explained(load: Import) -> None:
    text = "Zeit;Wert\n01.02.2025 00:00;1,5\n01.02.2025 00:15;1.000,5\n"

    with pytest.raises(CommandError, match="Nothing could be taken"):
        load(text)
    said = load(text, timestamp_format="%d.%m.%Y %H:%M", decimal=",")

    assert stored() == {"2025-02-01 00:00": 1.5}
    assert "line 3: '1.000,5' is not a number with the decimal mark ','" in said


def test_a_month_and_a_day_are_never_swapped(load: Import) -> None:
    with pytest.raises(CommandError, match="Nothing could be taken"):
        load("date,value\n02/01/2025,1\n03/01/2025,2\n")

    assert not Reading.objects.exists()
    assert not Asset.objects.exists()


@pytest.mark.parametrize("separator", ["\t", "|", ";"])
def test_the_separator_is_found(load: Import, separator: str) -> None:
    load(HOURS.replace(",", separator))

    assert stored() == HOURS_STORED


def test_a_file_without_a_header_is_read(load: Import) -> None:
    said = load(HOURS.split("\n", 1)[1])

    assert stored() == HOURS_STORED
    assert "no header" in said


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(load: Import) -> None:
    load(b"\xef\xbb\xbf" + HOURS.replace("\n", "\r\n").encode())

    assert stored() == HOURS_STORED


def test_an_older_encoding_can_be_told(load: Import) -> None:
    text = "timestamp,Stromstärke\n2025-01-01,1\n".encode("latin-1")

    with pytest.raises(
        CommandError, match=r"its text is not utf8 \(save it as UTF-8, or name its encoding\)"
    ):
        load(text)
    load(text, encoding="latin-1", metric=["current"])

    assert stored("current") == {"2025-01-01 00:00": 1.0}


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("", {}, "it is empty"),
        ("a,b\n1,2\n", {}, "The column of timestamps is not clear. The file has the columns: a, b"),
        ("time,a,b\n2025-01-01,1,2\n", {}, "The column of values is not clear"),
        ("time,metric,value\n2025-01-01,a,2\n", {"metric": ["b"]}, "The metric of a row is not clear"),
        ("time,metric,a,b\n2025-01-01,a,2,3\n", {"wide": True}, "The column 'metric' names it, and so does"),
        ("date,time,value\n2025-01-01,00:00,1\n", {}, "Date and time stand in two columns"),
        ("time,value\n2025-01-01,1\n", {"value_column": ["kw"]}, "There is no column 'kw'"),
        ("time,value,value\n2025-01-01,1,2\n", {}, "two columns are called 'value'"),
        ("time,value\n", {}, "Nothing could be taken"),
        ("time,P/kW\n2025-01-01,1\n", {"wide": True}, "'P/kW' is no name of a metric"),
        (HOURS, {"timezone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone"),
        (HOURS, {"country": "XX"}, "country: An ISO 3166-1 alpha-2 country"),
        (HOURS, {"sep": ",", "decimal": ","}, "cannot be the same"),
        (HOURS, {"timestamp_format": "%H:%M"}, "it names no year"),
        (gzip.compress(HOURS.encode() * 999, mtime=0)[:80], {}, "cannot be read"),
        (b"PAR1 but nothing else", {}, "cannot be read"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence(
    load: Import, content: str | bytes, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CommandError, match=re.escape(complaint)):
        load(content, **options)
    assert not Asset.objects.exists()


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(CommandError, match="there is no such file"):
        call_command("import_readings", "/nowhere.csv", tenant="alpha", asset="main-meter")


@pytest.mark.parametrize(
    ("tenant", "asset"), [("alpha", "../etc"), ("alpha", "a b"), ("al pha", "a"), ("", "a")]
)
def test_a_malformed_tenant_or_asset_is_refused(tmp_path: Path, tenant: str, asset: str) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(HOURS)

    with pytest.raises(CommandError):
        call_command("import_readings", str(file), tenant=tenant, asset=asset)


def test_a_compressed_file_cut_short_leaves_nothing_behind(load: Import) -> None:
    rows = "".join(f"2025-01-01T00:{i // 60 % 60:02}:{i % 60:02}.{i:06}Z,{i}\n" for i in range(300_000))
    whole = gzip.compress(("timestamp,value\n" + rows).encode(), compresslevel=1)

    with pytest.raises(CommandError, match="Truncated"):
        load(whole[:-1000])

    assert not Reading.objects.exists()
    assert not Asset.objects.exists()


def test_another_unit_is_refused(load: Import) -> None:
    load(HOURS, unit="kW")

    with pytest.raises(CommandError, match="is read in kW; these readings say kWh"):
        load(HOURS, unit="kWh")


def test_what_people_said_of_an_asset_outlasts_an_import(load: Import) -> None:
    load(HOURS, kind="load", country="GB")
    Asset.objects.update(timezone="Europe/Paris", country="FR", name="Mill")

    load(HOURS, timezone="Europe/London", country="GB", unit="kW")

    asset = Asset.objects.get()
    assert (asset.timezone, asset.country, asset.name, asset.unit) == ("Europe/Paris", "FR", "Mill", "kW")


def test_weather_comes_in_by_the_names_of_its_columns(load: Import) -> None:
    said = load(
        "timestamp,Temperature,humidity,remark\n2025-01-01 00:00,1.5,\n2025-01-01 01:00,,,\n".replace(
            "1.5,\n", "1.5,,x\n"
        ),
        of="weather",
    )

    row = Weather.objects.get()
    assert (row.timestamp, row.temperature, row.humidity) == (datetime(2025, 1, 1, tzinfo=UTC), 1.5, None)
    assert "line 3: no value" in said


def test_weather_of_two_files_adds_up(load: Import) -> None:
    load("timestamp,temperature\n2025-01-01 00:00,1\n2025-01-01 01:00,2\n", of="weather")

    said = load("timestamp,temperature,pressure\n2025-01-01 00:00,,1013\n2025-01-01 01:00,2,\n", of="weather")

    assert counts(said) == {"accepted": 0, "updated": 1, "unchanged": 1, "rejected": 0}
    assert set(Weather.objects.values_list("temperature", "pressure")) == {(1.0, 1013.0), (2.0, None)}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(HOURS)
    seen, piped = Terminal(), io.StringIO()
    for out in (seen, piped):
        call_command("import_readings", str(file), tenant="alpha", asset="main-meter", stdout=out)

    assert re.search(r"\r█+ 100%  3 rows  [\d,]+ rows/s  storing", seen.getvalue())
    assert "rows/s" not in piped.getvalue()
    assert re.search(r"3 read in \d+\.\d s \([\d,]+ a second\)", piped.getvalue())
