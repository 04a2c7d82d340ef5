"""What a person fills in to have readings judged, once or again and again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from anomalies.models import Method, Severity
from features.forms import AssetChoice
from features.models import Asset

MOST_HOURS = 8760


class _OfAsset(forms.Form):
    method = forms.ChoiceField(choices=Method.choices, initial=Method.ISOLATION_FOREST)
    sensitivity = forms.FloatField(
        min_value=1,
        max_value=5,
        initial=settings.ANOMALY_THRESHOLD,
        help_text="1 finds most, 5 least.",
        widget=forms.NumberInput(attrs={"step": "0.1"}),
    )

    def __init__(self, *args: Any, assets: QuerySet[Asset], names_tenants: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["asset"] = AssetChoice(
            queryset=assets.order_by("tenant_id", "name", "asset_id"),
            names_tenants=names_tenants,
            empty_label="Choose one",
        )
        self.order_fields(["asset"])

    def of_asset(self) -> dict[str, Any]:
        asset: Asset = self.cleaned_data["asset"]
        return {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}


class DetectionForm(_OfAsset):
    lookback_hours = forms.IntegerField(
        min_value=1,
        max_value=MOST_HOURS,
        initial=168,
        label="Hours to judge",
        help_text="Of its newest readings. The eight weeks before them teach what is usual.",
    )
    as_of = forms.DateTimeField(
        required=False,
        label="As if it were (UTC)",
        help_text="Later readings are not used. Left empty: now.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def asked(self) -> dict[str, Any]:
        """The arguments of `detect`."""
        given = {name: self.cleaned_data[name] for name in ("method", "sensitivity", "lookback_hours")}
        return {**self.of_asset(), **given, "as_of": self.cleaned_data["as_of"] or timezone.now()}


class WatchForm(_OfAsset):
    lookback_hours = forms.IntegerField(
        min_value=24, max_value=MOST_HOURS, initial=168, label="Hours to judge at each look"
    )
    every_minutes = forms.IntegerField(
        min_value=5, max_value=1440, initial=60, label="Minutes between two looks"
    )
    minimum_severity = forms.ChoiceField(
        choices=Severity.choices, initial=Severity.MEDIUM, label="Alert from this severity"
    )
    silent_after_hours = forms.IntegerField(
        min_value=0,
        max_value=MOST_HOURS,
        initial=24,
        label="Hours of silence",
        help_text="Alert when no reading came for so long; 0: never.",
    )
    webhook_url = forms.CharField(
        required=False,
        max_length=500,
        label="Webhook",
        help_text="Alerts are posted to this https address, signed. Left empty: they are only listed here.",
        widget=forms.URLInput,
    )

    def asked(self) -> dict[str, Any]:
        """The arguments of `set_up_watch`."""
        names = (
            *("method", "sensitivity", "lookback_hours", "minimum_severity"),
            *("silent_after_hours", "webhook_url"),
        )
        given = {name: self.cleaned_data[name] for name in names}
        return {
            **self.of_asset(),
            **given,
            "every": timedelta(minutes=self.cleaned_data["every_minutes"]),
        }
