"""Forecasts on the overview and on an asset's page, and the button that makes one."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib import admin

from features.models import Asset
from forecasting.models import Forecast

register = template.Library()


@register.inclusion_tag("admin/forecasting/forecast/panel.html", takes_context=True)
def forecasts_panel(context: dict[str, Any], limit: int, asset: Asset | None = None) -> dict[str, Any]:
    """The newest forecasts a person may see, of one asset or of all."""
    request = context["request"]
    pages: Any = admin.site.get_model_admin(Forecast)
    if not pages.has_view_permission(request):
        return {"may_view": False}
    forecasts = pages.get_queryset(request).without_steps()
    if asset is not None:
        forecasts = forecasts.filter(tenant_id=asset.tenant_id, asset_id=asset.asset_id)
    return {
        "may_view": True,
        "may_make": pages.has_add_permission(request),
        "forecasts": list(forecasts[:limit]),
        "asset": asset,
        "shows_tenants": request.user.is_superuser and asset is None,
    }


@register.inclusion_tag("admin/forecasting/forecast/button.html", takes_context=True)
def forecast_button(context: dict[str, Any], asset: Asset) -> dict[str, Any]:
    """Forecast the next 24 hours of this asset, for those who may."""
    request = context["request"]
    pages: Any = admin.site.get_model_admin(Forecast)
    return {"request": request, "asset": asset, "may_make": pages.has_add_permission(request)}
