"""manage.py load_sample_site: the site that ships, through the same import as any file."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from features import history
from features.models import Asset, Reading, Weather

pytestmark = pytest.mark.django_db
SITE = settings.BASE_DIR / "sample_data" / "site.json"
END = datetime(2100, 1, 1, tzinfo=UTC)


def load(**options: Any) -> str:
    said = io.StringIO()
    call_command("load_sample_site", stdout=said, **options)
    return said.getvalue()


def test_the_sample_site_is_loaded_whole_and_again_changes_nothing() -> None:
    said = load()
    site = json.loads(SITE.read_text())

    assert "rejected 0" in said
    assert not any("rejected 0" not in line for line in said.splitlines() if "accepted" in line)
    assert set(Asset.objects.values_list("tenant_id", "asset_id", "timezone")) == {
        ("demo", asset["asset_id"], asset["timezone"]) for asset in site["assets"]
    }
    stamp = Reading.objects.count(), Weather.objects.count()
    again = load()
    assert (Reading.objects.count(), Weather.objects.count()) == stamp
    assert all("accepted 0, updated 0" in line for line in again.splitlines() if "accepted" in line)


def test_a_file_of_a_local_clock_has_its_values_at_the_right_instants() -> None:
    load()
    times, values = history.window(tenant_id="demo", asset_id="home-electricity-illinois", before=END)
    file = gzip.decompress((SITE.parent / "home_electricity_illinois.csv.gz").read_bytes()).decode()

    # Hour after hour through two springs and two autumns, and no value lost.
    assert np.diff(times).tolist() == [3_600_000_000] * 17_544
    assert str(times[0].astype("datetime64[us]")) == "2016-02-08T06:00:00.000000"  # midnight in Chicago
    assert values.tolist() == [float(line.split(",")[1]) for line in file.splitlines()[1:]]


def test_what_people_changed_stays_changed() -> None:
    load()
    Asset.objects.filter(asset_id="pv-greensboro").update(name="Our roof", timezone="Europe/Berlin")

    load()

    kept = Asset.objects.get(asset_id="pv-greensboro")
    assert (kept.name, kept.timezone) == ("Our roof", "Europe/Berlin")


def test_another_tenant_may_be_named() -> None:
    load(tenant="alpha")

    assert set(Asset.objects.values_list("tenant_id", flat=True)) == {"alpha"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be used"),
        ('{"tenant": "demo"}', "it lacks 'assets'"),
        ('{"tenant": "demo", "assets": [{"asset_id": "a"}]}', "it lacks 'columns'"),
    ],
)
def test_a_broken_description_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    site = tmp_path / "site.json"
    site.write_text(text)

    with pytest.raises(CommandError, match=complaint):
        load(site=site)
