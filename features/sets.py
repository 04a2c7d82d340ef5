"""Which feature sets a tenant has: the built-in ones, and its own."""

from __future__ import annotations

from features.catalog import FEATURE_SETS, Choice, FeatureSet, choose, features_named
from features.errors import UnknownFeatureSet
from features.models import TenantFeatureSet


def resolve(tenant_id: str, name: str, version: int | None = None) -> FeatureSet:
    """The set this tenant means by `name`. Raises UnknownFeatureSet, with what there is.

    version: None for the newest. An earlier one, or one of a set removed since, is still found: a model that was
    trained with it names it.
    """
    declared = FEATURE_SETS.get(name)
    if declared is not None and version in (None, declared.version):
        return declared
    row = own_set(tenant_id, name, version)
    if row is None:
        raise UnknownFeatureSet(feature_set=name, known=", ".join(names(tenant_id)))
    return as_set(row)


def own_set(tenant_id: str, name: str, version: int | None = None) -> TenantFeatureSet | None:
    own = TenantFeatureSet.objects.for_tenant(tenant_id).filter(name=name)
    return (own.newest() if version is None else own.filter(version=version)).first()


def choice(tenant_id: str, name: str | None, feature_names: list[str] | None) -> Choice:
    """What a request asks for: a set, or features by name; raises FeaturesNotChosen for neither and for both."""
    if name is None or name in FEATURE_SETS or feature_names is not None:
        return choose(name, feature_names)
    return Choice(name, resolve(tenant_id, name).features)


def all_of(tenant_id: str) -> list[FeatureSet]:
    """The built-in ones first."""
    return [*FEATURE_SETS.values(), *map(as_set, TenantFeatureSet.objects.for_tenant(tenant_id).newest())]


def names(tenant_id: str) -> list[str]:
    return [declared.name for declared in all_of(tenant_id)]


def as_set(row: TenantFeatureSet) -> FeatureSet:
    return FeatureSet(row.name, row.version, features_named(row.features), row.description, ())
