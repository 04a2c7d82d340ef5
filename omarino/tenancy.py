"""Rows that belong to a tenant, and the one way to ask for them."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models

RowT = TypeVar("RowT", bound=models.Model, covariant=True)


class TenantQuerySet(models.QuerySet[RowT]):
    """Every QuerySet a view uses begins with `for_tenant`."""

    def for_tenant(self, tenant_id: str) -> Self:
        return self.filter(tenant_id=tenant_id)


class TenantOwned(models.Model):
    """A row of one tenant. The tenant's id is Keycloak's claim, kept as it is, never parsed.

    Each model makes `objects` from a `TenantQuerySet` of its own: inherited, it would not know the model's fields.
    """

    tenant_id = models.CharField(max_length=64, editable=False)

    class Meta:
        abstract = True
