"""What a person fills in to have a forecast made."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from features.forms import AssetChoice
from features.models import Asset
from forecasting.forecasters import FORECASTERS
from forecasting.models import ForecastType

FINEST, COARSEST = 15, 1440


class ForecastForm(forms.Form):
    forecast_type = forms.ChoiceField(
        choices=[("", "As the asset is"), *ForecastType.choices], required=False, label="What to forecast"
    )
    horizon_hours = forms.IntegerField(
        min_value=1, max_value=168, initial=settings.DEFAULT_FORECAST_HORIZON, label="Hours ahead"
    )
    interval_minutes = forms.IntegerField(
        min_value=FINEST,
        max_value=COARSEST,
        required=False,
        label="Minutes between steps",
        help_text="Left empty: as its readings come, 15 to 1440 minutes.",
    )
    model_name = forms.ChoiceField(choices=[(name, name) for name in FORECASTERS], label="Algorithm")
    as_of = forms.DateTimeField(
        required=False,
        label="As if it were (UTC)",
        help_text="Later readings are not used, and are drawn over the forecast. Left empty: now.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, *args: Any, assets: QuerySet[Asset], names_tenants: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["asset"] = AssetChoice(
            queryset=assets.order_by("tenant_id", "name", "asset_id"),
            names_tenants=names_tenants,
            empty_label="Choose one",
        )
        self.order_fields(["asset"])

    def asked(self) -> dict[str, Any]:
        """The arguments of `make_forecast`; what was left empty is the asset's own."""
        given = self.cleaned_data
        asset: Asset = given["asset"]
        own_interval = asset.interval_minutes or settings.DEFAULT_FORECAST_INTERVAL
        own_type = asset.kind if asset.kind in ForecastType.values else ForecastType.LOAD
        return {
            "tenant_id": asset.tenant_id,
            "asset_id": asset.asset_id,
            "forecast_type": given["forecast_type"] or own_type,
            "horizon_hours": given["horizon_hours"],
            "interval_minutes": given["interval_minutes"] or min(max(own_interval, FINEST), COARSEST),
            "model_name": given["model_name"],
            "as_of": given["as_of"] or timezone.now(),
        }
