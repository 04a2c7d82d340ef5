"""Assets in the admin: what they are, and what was read from them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from features import export_admin, history, overview, set_admin
from features.actions import remove_asset
from features.models import Asset, AssetQuerySet, time_zones
from omarino.admin import TenantAdmin, TenantForm, person
from omarino.permissions import MayUseFeatures
from omarino.templatetags.quantities import age

__all__ = ["AssetAdmin", "export_admin", "set_admin"]  # Django looks for pages in this module only


class AssetForm(TenantForm[Asset]):
    timezone = forms.ChoiceField(
        choices=lambda: [(name, name) for name in sorted(time_zones())],
        initial="UTC",
        label="Time zone",
        help_text="Of its days, weekdays and holidays.",
    )

    class Meta:
        model = Asset
        fields = [
            "asset_id",
            "name",
            "kind",
            "unit",
            "interval_minutes",
            "timezone",
            "country",
            "subdivision",
            "latitude",
            "longitude",
        ]
        labels = {"asset_id": "Asset ID", "interval_minutes": "Minutes between readings"}
        help_texts = {
            "asset_id": "As readings and requests name it; it cannot be changed later.",
            "name": "For people.",
            "unit": "Of its values: kW, kWh, EUR/MWh.",
            "interval_minutes": "Left empty, it is taken from the first import.",
            "country": "ISO code such as DE, for its holidays.",
            "subdivision": "Of the country, such as BY, for regional holidays.",
        }


@admin.register(Asset)
class AssetAdmin(TenantAdmin[Asset]):
    form = AssetForm
    add_roles = change_roles = MayUseFeatures.roles
    list_display = ["title", "last_reading", "last_week", "kind", "unit", "zone", "asset_id"]
    list_filter = ["kind"]
    search_fields = ["asset_id", "name"]
    list_per_page = 50
    fieldsets = [
        (None, {"fields": ["asset_id", "name", "kind", "unit", "interval_minutes"]}),
        ("Place and calendar", {"fields": ["timezone", "country", "subdivision", "latitude", "longitude"]}),
    ]

    @admin.display(description="Asset", ordering="name")
    def title(self, asset: Asset) -> str:
        return str(asset)

    @admin.display(description="Time zone", ordering="timezone")
    def zone(self, asset: Asset) -> str:
        return asset.timezone

    @admin.display(description="Last reading", ordering="last_reading_at")
    def last_reading(self, asset: Any) -> SafeString:
        state = overview.state_of(asset.last_reading_at, timezone.now())
        if state.since is None:
            words = "other metrics only" if asset.has_other_metrics else "no readings yet"
        else:
            words = f"{age(state.since, timezone.now())} ago"
        return format_html('<span class="state state-{}">{}</span>', state.name, words)

    @admin.display(description="Readings of its last week")
    def last_week(self, asset: Any) -> str:
        return overview.fullness(asset)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Asset]:
        assets = super().get_queryset(request)
        assert isinstance(assets, AssetQuerySet)  # noqa: S101  what the type checker cannot see
        return overview.with_last_reading(assets)

    def get_fieldsets(self, request: HttpRequest, obj: Asset | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None and person(request).is_superuser:
            return [("Tenant", {"fields": ["tenant_id"]}), *fieldsets]
        return fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Asset | None = None) -> Any:
        return ["asset_id"] if obj else []  # its readings name it

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None and (last := obj.last_reading_at):
            found = overview.portrait(obj, last_reading_at=last)
            context |= {
                "portrait": found,
                "chart": {"zone": obj.timezone, "unit": obj.unit, "readings": found.line},
                "state": overview.state_of(last, timezone.now()),
            }
        if obj is not None:
            context |= {"title": str(obj), "subtitle": None}
            key = {"tenant_id": obj.tenant_id, "asset_id": obj.asset_id}
            context |= {
                "latest_readings": list(history.latest_readings(**key, limit=12)),
                "now": timezone.now(),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Asset | None = None) -> bool:
        return person(request).is_superuser

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, Any], set[Any], list[Any]]:
        """Readings are no related objects to Django, so the confirmation counts them itself."""
        listed, counts, lacking, protected = super().get_deleted_objects(objs, request)
        for asset in objs:
            counts |= overview.belongings(asset)
            listed.append("Forecasts of it stay, as a record of what was said.")
        return listed, counts, lacking, protected

    def delete_model(self, request: HttpRequest, obj: Asset) -> None:
        remove_asset(tenant_id=obj.tenant_id, asset_id=obj.asset_id)
