"""GET /ai/features/assets, GET and PATCH /ai/features/assets/{asset_id}."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError

from features.models import Asset
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_asset

URL = "/ai/features/assets"


def test_assets_are_listed_newest_first_for_their_tenant_only(
    alice: Principal, bob: Principal, charlie: Principal, client_of: ClientOf
) -> None:
    for asset_id in ("first", "second"):
        make_asset(alice, asset_id=asset_id)
    make_asset(charlie, asset_id="theirs")

    listed = client_of(bob).get(URL).json()

    assert [asset["asset_id"] for asset in listed["assets"]] == ["second", "first"]
    assert (listed["total"], listed["limit"], listed["offset"]) == (2, 50, 0)


def test_assets_are_found_by_kind(alice: Principal, client_of: ClientOf) -> None:
    make_asset(alice, asset_id="meter", kind="load")
    make_asset(alice, asset_id="roof", kind="generation")

    listed = client_of(alice).get(URL, {"kind": "generation"}).json()

    assert [asset["asset_id"] for asset in listed["assets"]] == ["roof"]
    assert client_of(alice).get(URL, {"kind": "nuclear"}).status_code == 422


def test_an_asset_shows_what_is_said_of_it(alice: Principal, client_of: ClientOf) -> None:
    made = make_asset(alice, asset_id="plant:1.a_b-c", latitude=0.0, timezone="Europe/Berlin")

    shown = client_of(alice).get(f"{URL}/plant:1.a_b-c").json()

    assert shown.pop("first_seen_at") == made.first_seen_at.isoformat().replace("+00:00", "Z")
    assert shown == {
        "tenant_id": "alpha",
        "asset_id": "plant:1.a_b-c",
        "name": "",
        "kind": "load",
        "unit": "kW",
        "timezone": "Europe/Berlin",
        "country": "",
        "subdivision": "",
        "latitude": 0.0,
        "longitude": None,
        "interval_minutes": 60,
    }


def test_an_asset_is_edited_and_the_rest_stays(alice: Principal, client_of: ClientOf) -> None:
    make_asset(alice)

    response = client_of(alice).patch(
        f"{URL}/main-meter",
        {
            "tenant_id": "alpha",
            "timezone": "Europe/Berlin",
            "country": "DE",
            "subdivision": "BY",
            "longitude": 11.6,
        },
    )

    assert response.status_code == 200
    kept = Asset.objects.get()
    assert (kept.timezone, kept.country, kept.subdivision, kept.longitude) == (
        "Europe/Berlin",
        "DE",
        "BY",
        11.6,
    )
    assert (kept.unit, kept.kind, kept.interval_minutes) == ("kW", "load", 60)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"country": "XX"}, "country"),
        ({"country": "DE", "subdivision": "TX"}, "subdivision"),
        ({"subdivision": "BY"}, "Name the country as well"),
        ({"kind": "nuclear"}, "kind"),
        ({"latitude": 91}, "latitude"),
        ({"interval_minutes": 0}, "interval_minutes"),
        ({"unit": None}, "unit"),
    ],
)
def test_nonsense_about_an_asset_is_refused(
    alice: Principal, client_of: ClientOf, change: dict[str, Any], complaint: str
) -> None:
    before = make_asset(alice)

    response = client_of(alice).patch(f"{URL}/main-meter", change)

    assert response.status_code == 422
    assert complaint in response.json()["detail"]
    after = Asset.objects.get()
    assert (after.timezone, after.country, after.kind) == (before.timezone, before.country, before.kind)


def test_the_id_and_the_tenant_of_an_asset_stay(alice: Principal, client_of: ClientOf) -> None:
    make_asset(alice)
    client = client_of(alice)

    assert client.patch(f"{URL}/main-meter", {"asset_id": "other"}).json()["asset_id"] == "main-meter"
    assert client.patch(f"{URL}/main-meter", {"tenant_id": "gamma"}).status_code == 403


@pytest.mark.parametrize("method", ["get", "patch"])
def test_another_tenants_asset_looks_absent(
    alice: Principal, charlie: Principal, client_of: ClientOf, method: str
) -> None:
    make_asset(alice, asset_id="secret")
    client = client_of(charlie)

    theirs, nobodys = (
        getattr(client, method)(f"{URL}/{asset_id}", {"name": "mine"} if method == "patch" else None)
        for asset_id in ("secret", "no-such")
    )

    assert theirs.status_code == nobodys.status_code == 404
    strip = {"request_id": None}
    assert theirs.json() | strip == nobodys.json() | strip
    assert Asset.objects.get().name == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    "nonsense",
    [
        {"kind": "nuclear"},
        {"latitude": 91.0},
        {"longitude": -181.0},
        {"interval_minutes": 0},
        {"subdivision": "BY"},
    ],
)
def test_the_database_itself_refuses_nonsense(alice: Principal, nonsense: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        make_asset(alice, **nonsense)


@pytest.mark.django_db
def test_an_asset_is_there_once(alice: Principal) -> None:
    make_asset(alice)
    with pytest.raises(IntegrityError, match="features_asset_once"):
        make_asset(alice)
