"""Which feature sets a tenant has: the built-in ones, and its own."""

from __future__ import annotations

from features.catalog import FeatureSet, feature_set


def resolve(tenant_id: str, name: str) -> FeatureSet:
    """The set this tenant means by `name`. Raises UnknownFeatureSet, with what there is."""
    return feature_set(name)
