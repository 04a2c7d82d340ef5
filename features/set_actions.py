"""What one does with feature sets of one's own: put one together, change it into a new version, remove it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from features.catalog import FEATURE_SETS, features_named
from features.errors import FeatureSetNameTaken, TooManyFeatureSets
from features.models import TenantFeatureSet
from omarino import audit
from omarino.errors import NotFound

MOST_SETS = 200  # of a tenant


def define_set(
    *,
    tenant_id: str,
    name: str,
    features: Sequence[str],
    made_by: str,
    description: str = "",
    stored: bool = False,
) -> tuple[TenantFeatureSet, bool]:
    """The set as said, and whether that made a version: other features make the next one, the same ones none.

    Raises FeatureSetNameTaken, UnknownFeature and TooManyFeatureSets.
    """
    if name in FEATURE_SETS:
        raise FeatureSetNameTaken(name=name, built_in=", ".join(FEATURE_SETS))
    wanted = [feature.name for feature in features_named(features)]
    with transaction.atomic():
        _alone(tenant_id)
        own = TenantFeatureSet.objects.for_tenant(tenant_id)
        newest = own.newest().filter(name=name).first()
        if newest is not None and newest.features == wanted:
            was = audit.digest(newest)
            newest.description, newest.stored = description, stored
            newest.save(update_fields=["description", "stored"])
            if audit.digest(newest) != was:
                audit.record(tenant_id, "changed", "feature set", newest, before=was, after=newest)
            return newest, False
        if newest is None and own.newest().count() >= MOST_SETS:
            raise TooManyFeatureSets(limit=MOST_SETS)
        last = own.filter(name=name).aggregate(last=Max("version"))["last"] or 0
        made = TenantFeatureSet.objects.create(
            tenant_id=tenant_id,
            name=name,
            version=last + 1,  # also after a removal: a model may name the versions before it
            features=wanted,
            description=description,
            stored=stored,
            made_by=made_by,
        )
        audit.record(tenant_id, "defined", "feature set", made, after=made)
        return made, True


@transaction.atomic
def remove_set(*, tenant_id: str, name: str) -> None:
    """The name is free again; what was trained with a version of it still finds that version."""
    own = TenantFeatureSet.objects.for_tenant(tenant_id)
    newest = own.filter(name=name, removed_at=None).order_by("-version").first()
    if newest is None:
        raise NotFound
    was, now = audit.digest(newest), timezone.now()
    own.filter(name=name, removed_at=None).update(removed_at=now)
    after = audit.digest(newest, removed_at=now)
    audit.record(tenant_id, "removed", "feature set", name, before=was, after=after)


def _alone(tenant_id: str) -> None:
    """One at a time for a tenant, until the transaction ends: there may be no row to lock yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 803002))", [tenant_id])
