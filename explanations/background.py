"""Rows a model meets in daily life: features as of moments drawn by seed from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explanations.errors import NoBackground
from features import compute, history, sets
from features.catalog import FEATURES, Feature
from features.errors import UnknownFeatureSet
from features.models import Asset
from omarino.epoch import MICROSECOND, to_us
from registry import serving
from registry.models import ModelVersion

Floats = NDArray[np.float64]

REACH = timedelta(days=366)
MOST_ASSETS = 8
SEED = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows of a model would be drawn from. identity: changes with whatever changes the rows."""

    features: tuple[Feature, ...]
    assets: tuple[Asset, ...]

    @property
    def identity(self) -> list[Any]:
        return [
            [feature.name for feature in self.features],
            [[asset.pk, asset.data_version, asset.timezone, asset.interval_minutes] for asset in self.assets],
            SEED,
        ]

    @property
    def words(self) -> str:
        return f"stored readings of {', '.join(asset.asset_id for asset in self.assets)}"


def source_of(version: ModelVersion, *, asset_id: str | None, field: str) -> Source:
    """The features of a model's columns, and the assets whose readings are there.

    Raises:
        NoBackground: its columns are not features that are known here, or nothing was read.
    """

    def none(reason: str) -> NoBackground:
        return NoBackground(model_id=str(version), reason=reason, field=field)

    columns = serving.columns_of(version)
    said = version.metadata
    known = FEATURES
    if isinstance(said.get("feature_set"), str):
        wanted = said.get("feature_set_version")
        try:
            declared = sets.resolve(
                version.tenant_id, said["feature_set"], wanted if isinstance(wanted, int) else None
            )
        except UnknownFeatureSet as unknown:
            raise none(f"its feature_set {said['feature_set']!r} is not known here") from unknown
        known = {feature.name: feature for feature in declared.features}
    if strangers := [name for name in columns if name not in known]:
        raise none(f"{', '.join(strangers[:5])} is no feature that is computed here")
    assets = Asset.objects.for_tenant(version.tenant_id)
    named = [asset_id] if asset_id else _names(said.get("asset_ids", said.get("asset_id")))
    assets = assets.filter(asset_id__in=named) if named else assets.filter(data_version__gt=0)
    found = tuple(assets.order_by("-data_version", "pk")[:MOST_ASSETS])
    if not found:
        raise none(f"there is no asset {named[0]!r}" if named else "no asset has readings")
    return Source(tuple(known[name] for name in columns), found)


def draw(version: ModelVersion, source: Source, size: int, *, field: str) -> Floats:
    """Up to `size` rows, shape (n, features), columns in the model's order, in the order of time by asset.

    Rows with a gap are left out where the model takes no missing values. Raises NoBackground without any.
    """
    random = np.random.default_rng(SEED)
    shares = np.diff(np.linspace(0, size, len(source.assets) + 1).astype(np.int64)).tolist()
    tables = [
        _rows_of(asset, source.features, share, random, bool(version.portrait.get("takes_missing")))
        for asset, share in zip(source.assets, shares, strict=True)
    ]
    table = np.concatenate(tables)
    if not len(table):
        raise NoBackground(
            model_id=str(version), reason="no stored reading has all the features it takes", field=field
        )
    return table


def _names(said: Any) -> list[str]:
    listed = said if isinstance(said, list) else [said]
    return [name for name in listed if isinstance(name, str) and name]


def _rows_of(
    asset: Asset, features: Sequence[Feature], size: int, random: np.random.Generator, takes_missing: bool
) -> Floats:
    whose: dict[str, Any] = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}
    nothing = np.empty((0, len(features)))
    latest = history.latest_at(**whose)
    if latest is None or size == 0:
        return nothing
    longest = max(feature.looks_back for feature in features)
    before = latest + MICROSECOND
    times, values = history.window(**whose, start=latest - REACH - longest, before=before)
    weather = history.weather(**whose, start=latest - REACH - timedelta(days=1), before=before)
    # a moment whose windows are filled; a short history has few of them
    known = times[times >= max(to_us(latest - REACH), int(times[0]) + longest // MICROSECOND)]
    moments = known if known.size else times[-1:]
    past = compute.Past(
        times, values, weather.times_us, weather.columns, asset.timezone, asset.interval_minutes
    )
    drawn = np.sort(random.choice(moments, size=min(4 * size, moments.size), replace=False))
    columns = compute.rows(features, past, drawn)
    table = np.column_stack([columns[feature.name] for feature in features])
    whole = np.isfinite(table).all(axis=1) if not takes_missing else np.isfinite(table).any(axis=1)
    usable = np.flatnonzero(whole)
    if usable.size > size:
        usable = np.sort(random.choice(usable, size=size, replace=False))
    return table[usable]
