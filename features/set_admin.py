"""Feature sets of one's own in the admin: what is in them, put together by ticking, each change a version."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from features import set_actions
from features.catalog import FEATURE_SETS, FEATURES
from features.errors import FeatureSetNameTaken
from features.models import TenantFeatureSet, TenantSetQuerySet
from omarino.admin import TenantAdmin, TenantForm, person
from omarino.permissions import MayDefineFeatures


class FeatureSetForm(TenantForm[TenantFeatureSet]):
    features = forms.MultipleChoiceField(
        choices=[(name, f"{name}: {feature.description}") for name, feature in FEATURES.items()],
        widget=forms.CheckboxSelectMultiple,
        help_text="Other features make the next version; models keep the one they were trained with.",
    )

    class Meta:
        model = TenantFeatureSet
        fields = ["name", "features", "description", "stored"]
        labels = {"stored": "Store its rows"}
        help_texts = {
            "name": "As requests name it.",
            "description": "For people.",
            "stored": "Every hour, a row of each asset is written to the table ai_features.",
        }

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if name in FEATURE_SETS:
            raise ValidationError(FeatureSetNameTaken(name=name, built_in=", ".join(FEATURE_SETS)).args[0])
        return name


@admin.register(TenantFeatureSet)
class FeatureSetAdmin(TenantAdmin[TenantFeatureSet]):
    form = FeatureSetForm
    add_roles = change_roles = MayDefineFeatures.roles
    list_display = ["name", "version", "count", "stored", "description", "made_at"]
    search_fields = ["name"]
    list_per_page = 50
    fields = ["name", "features", "description", "stored"]

    @admin.display(description="Features")
    def count(self, row: TenantFeatureSet) -> int:
        return len(row.features)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TenantFeatureSet]:
        """Of each set the newest version."""
        rows = super().get_queryset(request)
        assert isinstance(rows, TenantSetQuerySet)  # noqa: S101  what the type checker cannot see
        return rows.newest()

    def audited_as(self, row: TenantFeatureSet) -> str:
        return str(row)

    def get_readonly_fields(self, request: HttpRequest, obj: TenantFeatureSet | None = None) -> Any:
        return ["name"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: TenantFeatureSet | None = None) -> bool:
        return self._has_one_of(request, MayDefineFeatures.roles)

    def save_model(self, request: HttpRequest, obj: TenantFeatureSet, form: Any, change: bool) -> None:
        """By the verb of the API: a version is written once."""
        row, _ = set_actions.define_set(
            tenant_id=obj.tenant_id,
            name=obj.name,
            features=form.cleaned_data["features"],
            description=obj.description,
            stored=obj.stored,
            made_by=person(request).get_username(),
        )
        obj.pk, obj.version = row.pk, row.version

    def delete_model(self, request: HttpRequest, obj: TenantFeatureSet) -> None:
        set_actions.remove_set(tenant_id=obj.tenant_id, name=obj.name)
