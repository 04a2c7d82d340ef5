"""What one does with readings: import a table of them, load a described site, correct an asset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from django.db import connection, transaction

from features import aggregates
from features.batches import Outcome, ReadingBatch, Rejections, WeatherBatch
from features.columns import Layout, Wanted, reading_layout, weather_layout
from features.errors import SiteUnreadable, TooManyReadings
from features.ingest import store_readings, store_weather
from features.models import (
    ASSET_FIELDS,
    Asset,
    Reading,
    ReadingRevision,
    StoredFeatures,
    Weather,
    WeatherRevision,
)
from features.parse import Notation, reading_batches, weather_batches
from features.readings_file import Table, open_table
from features.timestamps import Clock
from omarino import audit
from omarino.errors import NotFound

Kind = Literal["readings", "weather"]
BatchT = TypeVar("BatchT", ReadingBatch, WeatherBatch)


@dataclass(slots=True)
class TableImport:
    """A table on its way in.

    at_most: refuse a table of more rows.
    on_progress: is told the readings so far and the share of the table read; 1 when all is read and
        what remains is to store it.
    """

    table: Table
    kind: Kind = "readings"
    wanted: Wanted = field(default_factory=Wanted)
    notation: Notation = field(default_factory=Notation)
    rejections: Rejections = field(default_factory=Rejections)
    about_asset: Mapping[str, Any] = field(default_factory=dict)
    may_take_long: bool = False
    at_most: int | None = None
    on_progress: Callable[[int, float], None] | None = None

    def layout(self) -> Layout:
        find = weather_layout if self.kind == "weather" else reading_layout
        return find(self.table.names, self.wanted)


def import_table(*, tenant_id: str, asset_id: str, job: TableImport) -> Outcome:
    """Store a table's readings or weather: what is good in it, or nothing when it turns out damaged."""
    layout = job.layout()
    said: dict[str, Any] = {
        "tenant_id": tenant_id,
        "asset_id": asset_id,
        "rejections": job.rejections,
        "about_asset": job.about_asset,
        "may_take_long": job.may_take_long,
    }
    if job.kind == "weather":
        weather = weather_batches(job.table, layout, job.notation, job.rejections)
        return store_weather(batches=_counted(weather, job), **said)
    readings = reading_batches(job.table, layout, job.notation, job.rejections)
    return store_readings(batches=_counted(readings, job), **said)


def edit_asset(*, tenant_id: str, asset_id: str, changes: Mapping[str, Any]) -> Asset:
    """Change what is said of an asset."""
    with transaction.atomic():
        asset = Asset.objects.for_tenant(tenant_id).lock(asset_id).first()
        if asset is None:
            raise NotFound
        was = audit.digest(asset)
        for name, value in changes.items():
            setattr(asset, name, value)
        asset.refuse_if_invalid()
        asset.save(update_fields=list(changes))
        audit.record(tenant_id, "changed", "asset", asset_id, before=was, after=asset, fields=sorted(changes))
    return asset


def remove_asset(*, tenant_id: str, asset_id: str) -> None:
    """Remove an asset with its readings, its weather and stored features. Forecasts stay, as a record of what was said."""
    with transaction.atomic():
        asset = Asset.objects.for_tenant(tenant_id).lock(asset_id).first()
        if asset is None:
            raise NotFound
        for kind in (Reading, ReadingRevision, Weather, WeatherRevision, StoredFeatures):
            kind.objects.for_tenant(tenant_id).filter(asset_id=asset_id).delete()
        aggregates.forget(connection, tenant_id=tenant_id, asset_id=asset_id)
        audit.record(tenant_id, "removed", "asset", asset_id, before=audit.digest(asset))
        asset.delete()


def load_site(
    *, description: Path, tenant_id: str | None = None, on_file: Callable[[str, Outcome], None] | None = None
) -> str:
    """Load the assets, readings and weather that a site.json names; again changes nothing.

    Returns:
        The tenant it belongs to: `tenant_id`, or the one the description names.
    """
    try:
        site = json.loads(description.read_text())
        tenant = tenant_id or site["tenant"]
        for asset in site["assets"]:
            about = {name: asset[name] for name in ASSET_FIELDS if asset.get(name) is not None}
            for kind, file, wanted in _files(asset):
                job = TableImport(
                    open_table(description.parent / file),
                    kind=kind,
                    wanted=wanted,
                    notation=Notation(Clock(asset.get("file_timezone") or "UTC")),
                    about_asset=about,
                    may_take_long=True,
                )
                outcome = import_table(tenant_id=tenant, asset_id=asset["asset_id"], job=job)
                if on_file:
                    on_file(f"{asset['asset_id']}: {file}", outcome)
    except (OSError, json.JSONDecodeError) as fault:
        raise SiteUnreadable(path=str(description), reason=str(fault)) from fault
    except KeyError as fault:
        raise SiteUnreadable(path=str(description), reason=f"it lacks {fault}") from fault
    return str(tenant)


def _files(asset: Mapping[str, Any]) -> Iterator[tuple[Kind, str, Wanted]]:
    columns = asset["columns"]
    yield "readings", asset["file"], Wanted(timestamp=columns["timestamp"], values=(columns["value"],))
    if weather := asset.get("weather"):
        yield "weather", weather["file"], Wanted(values=tuple(weather["columns"]))


def _counted(batches: Iterator[BatchT], job: TableImport) -> Iterator[BatchT]:
    taken = 0
    for batch in batches:
        taken += batch.rows.size
        if job.at_most is not None and taken + job.rejections.total > job.at_most:
            raise TooManyReadings(limit=job.at_most)
        if job.on_progress:
            job.on_progress(taken, min(job.table.share_read, 0.99))
        yield batch
    if job.on_progress:
        job.on_progress(taken, 1.0)
