"""What an answer needs of an asset besides its readings: asked with every request, so prepared (docs/adr/0027)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from django.db import connection

_KNOWN = """
SELECT asset_id::text, id, data_version, timezone::text, interval_minutes, unit::text FROM features_asset
WHERE tenant_id = %s AND asset_id = ANY(%s)
"""


class KnownAsset(NamedTuple):
    """What features and detections depend on."""

    asset_id: str
    pk: int  # removed and made again, an asset counts its versions from the start
    data_version: int
    timezone: str
    interval_minutes: int | None
    unit: str


def known_assets(*, tenant_id: str, asset_ids: Iterable[str]) -> dict[str, KnownAsset]:
    """Of those that there are, by asset_id."""
    rows = cast(Any, connection).ask(_KNOWN, [tenant_id, list(dict.fromkeys(asset_ids))])
    return {asset.asset_id: asset for asset in map(KnownAsset._make, rows)}
