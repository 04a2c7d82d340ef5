"""Rows of features in ai_features: the marked sets hour by hour, anything else by a command."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from features import online, stored
from features.catalog import FEATURE_SETS, choose
from features.models import Asset, Reading, StoredFeatures, Weather
from features.set_actions import define_set, remove_set

START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = START + 72 * HOUR + timedelta(minutes=20)


@pytest.fixture
def readings(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three days of hours until shortly before now, but for two of them."""
    Asset.objects.create(
        tenant_id="alpha", asset_id="main-meter", interval_minutes=60, timezone="Europe/Berlin"
    )
    Asset.objects.create(tenant_id="alpha", asset_id="without-readings")
    monkeypatch.setattr(stored, "ROWS_AT_ONCE", 30)  # also, long statements end PGlite
    put(0, 72, but=(30, 31))
    Weather.objects.create(
        tenant_id="alpha", asset_id="main-meter", timestamp=START + 40 * HOUR, temperature=-3.5
    )


def put(first: int, before: int, *, but: tuple[int, ...] = ()) -> None:
    of = {"tenant_id": "alpha", "asset_id": "main-meter"}
    Reading.objects.bulk_create(
        Reading(**of, timestamp=START + hour * HOUR, value=float(hour))
        for hour in range(first, before)
        if hour not in but
    )


def mark(**said: Any) -> None:
    wanted = {"features": ["lag_1h", "hour_of_day", "temperature"], "stored": True, **said}
    define_set(tenant_id="alpha", name="mine", made_by="alice", **wanted)


def rows() -> dict[datetime, dict[str, Any]]:
    return dict(StoredFeatures.objects.order_by("timestamp").values_list("timestamp", "features"))


def test_a_marked_set_is_written_for_every_hour_up_to_the_last_reading(readings: None) -> None:
    mark()

    assert stored.store_wanted(now=NOW) == 73

    found = rows()
    assert (min(found), max(found)) == (START, START + 72 * HOUR)
    assert found[START + 72 * HOUR] == {"lag_1h": 71.0, "hour_of_day": 1, "temperature": None}
    assert found[START + 40 * HOUR] == {"lag_1h": 39.0, "hour_of_day": 17, "temperature": -3.5}
    assert found[START + 31 * HOUR]["lag_1h"] is None


def test_a_row_is_what_the_service_answers(readings: None) -> None:
    declared = FEATURE_SETS["forecast_advanced"]

    stored.store(tenant_id="alpha", feature_set=declared, start=START + 20 * HOUR, before=START + 60 * HOUR)

    found = rows()
    assert sorted(found) == [START + hour * HOUR for hour in range(20, 60)]
    for moment in list(found)[::7]:
        question = online.Question(choose("forecast_advanced", None), moment, timedelta(hours=8760))
        answer = online.get(tenant_id="alpha", asset_id="main-meter", question=question)
        assert found[moment] == answer.features


def test_again_writes_what_is_new_or_has_changed_and_nothing_else(readings: None) -> None:
    mark()
    stored.store_wanted(now=NOW)
    assert stored.store_wanted(now=NOW) == 0

    put(72, 74)
    assert stored.store_wanted(now=NOW + 2 * HOUR) == 2

    Reading.objects.filter(timestamp=START + 60 * HOUR).update(value=0.5)
    assert stored.store_wanted(now=NOW + 2 * HOUR) == 1
    assert rows()[START + 61 * HOUR]["lag_1h"] == 0.5


def test_a_set_not_marked_or_removed_is_not_written(readings: None) -> None:
    mark(stored=False)
    assert stored.store_wanted(now=NOW) == 0

    mark()
    remove_set(tenant_id="alpha", name="mine")
    assert stored.store_wanted(now=NOW) == 0


def test_versions_stand_beside_one_another(readings: None) -> None:
    mark()
    stored.store_wanted(now=NOW)
    mark(features=["lag_24h"])
    stored.store_wanted(now=NOW)

    of_an_hour = StoredFeatures.objects.filter(timestamp=START + 72 * HOUR).order_by("feature_set_version")
    assert [(row.feature_set_version, sorted(row.features)) for row in of_an_hour] == [
        (1, ["hour_of_day", "lag_1h", "temperature"]),
        (2, ["lag_24h"]),
    ]


def test_the_command_writes_any_set_of_any_time(readings: None) -> None:
    out = io.StringIO()
    said = [
        "--tenant",
        "alpha",
        "--feature-set",
        "forecast_basic",
        "--start",
        "2025-01-02",
        "--end",
        "2025-01-03",
    ]

    call_command("store_features", *said, stdout=out)

    assert "main-meter: 24 rows" in out.getvalue()
    assert "24 rows are new or changed" in out.getvalue()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (features ->> 'lag_24h')::float8 FROM ai_features WHERE timestamp = '2025-01-02 12:00+00'"
        )
        assert cursor.fetchone() == (12.0,)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("feature_set", "start", "reason"),
    [("made_up", "2025-01-01", "no feature set"), ("forecast_basic", "2025-02-01", "before")],
)
def test_the_command_refuses_what_makes_no_sense(feature_set: str, start: str, reason: str) -> None:
    said = ["--tenant", "alpha", "--feature-set", feature_set, "--start", start, "--end", "2025-01-03"]
    with pytest.raises(CommandError, match=reason):
        call_command("store_features", *said)
