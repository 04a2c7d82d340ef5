"""POST /ai/features/export and what follows, with a real worker."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.core.cache import cache

from features.catalog import FEATURE_SETS
from features.compute import HOUR_US
from features.models import FeatureExport
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_readings, make_weather
from tests.workers import Worker, running_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/ai/features/export"
LIST = "/ai/features/exports"
START = datetime(2025, 1, 1, tzinfo=UTC)
NAN = float("nan")


@pytest.fixture(scope="module")
def worker(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with running_worker(tmp_path_factory.mktemp("worker")) as worker:
        yield worker


def body(**said: Any) -> dict[str, Any]:
    return {
        "tenant_id": "alpha",
        "feature_set": "forecast_advanced",
        "start_time": "2025-01-01T00:00:00Z",
        "end_time": "2025-02-01T00:00:00Z",
        **said,
    }


def ask(client_of: ClientOf, who: Principal, **said: Any) -> dict[str, Any]:
    response = client_of(who).post(URL, body(**said))
    assert response.status_code == 202, response.content
    export: dict[str, Any] = response.json()
    return export


def ended(client_of: ClientOf, who: Principal, export_id: str) -> dict[str, Any]:
    client = client_of(who)
    wait_until(lambda: FeatureExport.objects.get(pk=export_id).is_over)
    export: dict[str, Any] = client.get(f"{LIST}/{export_id}").json()
    return export


def table(client_of: ClientOf, who: Principal, export_id: str) -> Any:
    return pq.read_table(io.BytesIO(download(client_of, who, export_id)))


def download(client_of: ClientOf, who: Principal, export_id: str) -> bytes:
    response: Any = client_of(who).get(f"{LIST}/{export_id}/download")
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def test_an_export_is_asked_for_written_and_fetched(
    worker: Worker, alice: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, np.arange(200.0), unit="kW")

    asked = ask(client_of, alice, end_time="2025-01-03T00:00:00Z", output_path="2025/load")
    assert {
        name: asked[name] for name in ("tenant_id", "feature_set", "status", "progress", "asset_ids")
    } == {
        "tenant_id": "alpha",
        "feature_set": "forecast_advanced",
        "status": "pending",
        "progress": 0.0,
        "asset_ids": None,
    }
    export = ended(client_of, alice, asked["export_id"])

    assert (export["status"], export["error"], export["progress"]) == ("completed", "", 1.0)
    assert export["row_count"] == 48
    assert export["storage_path"] == f"alpha/{asked['export_id']}/2025/load.parquet"
    response: Any = client_of(alice).get(f"{LIST}/{asked['export_id']}/download")
    content = b"".join(response.streaming_content)
    assert response.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert response.headers["Content-Disposition"] == 'attachment; filename="load.parquet"'
    assert (len(content), hashlib.sha256(content).hexdigest()) == (
        export["file_size_bytes"],
        export["sha256"],
    )
    assert export["file_size_mb"] == round(len(content) / 1e6, 3)
    assert export["started_at"] < export["completed_at"] < export["kept_until"]
    listed = client_of(alice).get(LIST, {"status_filter": "completed", "feature_set": "forecast_advanced"})
    assert [row["export_id"] for row in listed.json()["exports"]] == [asked["export_id"]]
    assert client_of(alice).get(LIST, {"status_filter": "failed"}).json()["total"] == 0


def test_the_file_says_what_it_is_and_in_which_units(
    worker: Worker, alice: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, np.arange(24.0))
    export_id = ask(client_of, alice)["export_id"]
    ended(client_of, alice, export_id)

    rows = table(client_of, alice, export_id)

    assert rows.column_names == [
        *("timestamp", "tenant_id", "asset_id", "target"),
        *FEATURE_SETS["forecast_advanced"].names,
    ]
    assert str(rows.schema.field("timestamp").type) == "timestamp[us, tz=UTC]"
    units = {name: rows.schema.field(name).metadata[b"unit"] for name in ("target", "lag_1h", "temperature")}
    assert units == {"target": b"of the readings", "lag_1h": b"of the readings", "temperature": b"degC"}
    about = rows.schema.metadata
    assert (about[b"feature_set"], about[b"feature_set_version"]) == (b"forecast_advanced", b"1")
    assert about[b"export_id"] == export_id.encode()
    assert rows["lag_1h"].to_pylist()[:3] == [None, 0.0, 1.0]
    assert rows["tenant_id"].unique().to_pylist() == ["alpha"]
    codecs = pq.ParquetFile(io.BytesIO(download(client_of, alice, export_id))).metadata.row_group(0)
    assert {codecs.column(number).compression for number in range(codecs.num_columns)} == {"SNAPPY"}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("feature_set", sorted(FEATURE_SETS))
def test_an_exported_row_is_the_online_answer_at_its_time(
    worker: Worker, alice: Principal, client_of: ClientOf, seed: int, feature_set: str
) -> None:
    random = np.random.default_rng(seed)
    for name, minutes, zone in (
        ("one", 15, "Europe/Berlin"),
        ("two", 60, "UTC"),
        ("three", 60, "Asia/Kolkata"),
    ):
        count = 24 * 20 * 60 // minutes
        values = np.cumsum(random.normal(size=count)) * 10.0 ** random.integers(-2, 6)
        quality = np.where(random.random(count) < 0.1, "bad", "good").tolist()
        kept = [said if random.random() < 0.8 else "missing" for said in quality]
        make_readings(
            alice, values, asset_id=name, start=START - timedelta(days=10), interval_minutes=minutes,
            quality=kept, timezone=zone,
        )  # fmt: skip
        weather = np.where(random.random(300) < 0.3, NAN, random.normal(size=300))
        make_weather(
            alice,
            {"temperature": weather, "humidity": weather + 1},
            asset_id=name,
            start=START - timedelta(days=2),
        )
    export_id = ask(client_of, alice, feature_set=feature_set)["export_id"]
    assert ended(client_of, alice, export_id)["status"] == "completed"

    rows = table(client_of, alice, export_id).to_pylist()

    assert len(rows) > 500
    client = client_of(alice)
    cache.clear()
    for row in random.choice(np.array(rows, dtype=object), size=40, replace=False):
        asked = {
            "tenant_id": "alpha",
            "asset_id": row["asset_id"],
            "timestamp": row["timestamp"].isoformat(),
            "feature_set": feature_set,
        }
        online = client.post("/ai/features/get", asked).json()["features"]
        assert [name for name in online if row[name] is None] == [
            name for name, value in online.items() if value is None
        ]
        known = {name: value for name, value in online.items() if value is not None}
        assert {name: row[name] for name in known} == pytest.approx(known, rel=1e-9, abs=1e-9), asked


def test_assets_are_chosen_and_times_without_a_zone_are_utc(
    worker: Worker, alice: Principal, client_of: ClientOf
) -> None:
    for name in ("a", "b", "c"):
        make_readings(alice, np.arange(30.0), asset_id=name)

    said = {"asset_ids": ["c", "a", "c"], "start_time": "2025-01-01T02:00:00", "end_time": "2025-01-01T04:00"}
    export_id = ask(client_of, alice, **said)["export_id"]
    export = ended(client_of, alice, export_id)

    rows = table(client_of, alice, export_id)
    assert export["asset_ids"] == ["c", "a"]
    assert rows["asset_id"].to_pylist() == ["a", "a", "c", "c"]
    assert rows["target"].to_pylist() == [2.0, 3.0, 2.0, 3.0]
    assert rows["timestamp"].to_pylist()[0] == START + timedelta(hours=2)


def test_without_rows_it_has_failed_for_want_of_data(
    worker: Worker, alice: Principal, client_of: ClientOf, settings: Any
) -> None:
    make_readings(alice, np.arange(30.0), asset_id="a")

    export_id = ask(client_of, alice, start_time="2026-01-01T00:00:00Z", end_time="2026-02-01T00:00:00Z")[
        "export_id"
    ]
    export = ended(client_of, alice, export_id)

    assert export["status"] == "failed"
    assert "no data" in export["error"]
    assert "no data" in export["message"]
    answer = client_of(alice).get(f"{LIST}/{export_id}/download")
    assert (answer.status_code, answer.json()["code"]) == (409, "export_not_ready")
    assert not (Path(settings.EXPORT_STORAGE_PATH) / "alpha" / export_id).exists()


def test_other_tenants_readings_are_in_no_export(
    worker: Worker, alice: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    make_readings(alice, np.arange(30.0), asset_id="meter")
    make_readings(charlie, np.arange(50.0), asset_id="meter")
    make_readings(charlie, np.arange(50.0), asset_id="other")

    export_id = ask(client_of, alice)["export_id"]

    assert ended(client_of, alice, export_id)["row_count"] == 30
    refused = client_of(alice).post(URL, body(asset_ids=["other"]))
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_assets")


def test_an_asset_with_more_readings_than_are_held_at_once_is_whole(
    worker: Worker, alice: Principal, client_of: ClientOf
) -> None:
    values = np.round(np.random.default_rng(0).normal(size=300_000), 3)
    make_readings(alice, values, interval_minutes=1)

    export_id = ask(client_of, alice, feature_set="forecast_basic", end_time="2026-01-01T00:00:00Z")[
        "export_id"
    ]
    export = ended(client_of, alice, export_id)

    rows = table(client_of, alice, export_id)
    assert export["row_count"] == 300_000
    assert (rows["target"].to_numpy() == values).all()
    assert (np.diff(rows["timestamp"].to_numpy().astype("int64")) == HOUR_US // 60).all()
    lagged = rows["lag_24h"].to_numpy()
    assert (lagged[1440:] == values[:-1440]).all()
    assert np.isnan(lagged[:1440]).all()
    groups = pq.ParquetFile(io.BytesIO(download(client_of, alice, export_id))).metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)][:2] == [131_072] * 2
