"""Detections and watches on an asset's page, and the button that looks for anomalies."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings
from django.contrib import admin

from anomalies.models import Detection, Method, Watch
from features.models import Asset

register = template.Library()


@register.inclusion_tag("admin/anomalies/detection/panel.html", takes_context=True)
def detections_panel(context: dict[str, Any], limit: int, asset: Any) -> dict[str, Any]:
    """The newest detections and the watches of an asset, for those who may see them."""
    request = context["request"]
    pages: Any = admin.site.get_model_admin(Detection)
    if not pages.has_view_permission(request):
        return {"may_view": False}
    of_asset = {"tenant_id": asset.tenant_id, "asset_id": asset.asset_id}
    watches: Any = admin.site.get_model_admin(Watch)
    return {
        "may_view": True,
        "may_detect": pages.has_add_permission(request),
        "detections": list(pages.get_queryset(request).without_anomalies().filter(**of_asset)[:limit]),
        "watches": list(watches.get_queryset(request).filter(**of_asset)[:limit]),
        "asset": asset,
        # of a device that sends other metrics only nothing could be watched
        "may_watch": asset.last_reading_at is not None or not asset.has_other_metrics,
    }


@register.inclusion_tag("admin/anomalies/detection/button.html", takes_context=True)
def detect_button(context: dict[str, Any], asset: Asset) -> dict[str, Any]:
    """Look for anomalies in the asset's last week, for those who may."""
    request = context["request"]
    pages: Any = admin.site.get_model_admin(Detection)
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "asset": asset,
        "may_detect": pages.has_add_permission(request),
        "method": Method.ISOLATION_FOREST,
        "sensitivity": settings.ANOMALY_THRESHOLD,
    }
