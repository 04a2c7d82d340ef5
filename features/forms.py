"""What forms of the layers above share."""

from __future__ import annotations

from typing import Any

from django import forms

from features.models import Asset


class AssetChoice(forms.ModelChoiceField[Asset]):
    """An asset by its name; with its tenant for a superuser, who sees those of all."""

    def __init__(self, *, names_tenants: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names_tenants = names_tenants

    def label_from_instance(self, obj: Asset) -> str:
        known = obj.asset_id if not obj.name else f"{obj.name} ({obj.asset_id})"
        return f"{obj.tenant_id}: {known}" if self.names_tenants else known
