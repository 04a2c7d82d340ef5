"""The assets on the overview."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib import admin
from django.utils import timezone

from features import overview
from features.models import Asset

register = template.Library()


@register.inclusion_tag("admin/features/asset/panel.html", takes_context=True)
def assets_panel(context: dict[str, Any], limit: int) -> dict[str, Any]:
    """The newest assets a person may see, and how they are read."""
    request = context["request"]
    pages: Any = admin.site.get_model_admin(Asset)
    if not pages.has_view_permission(request):
        return {"may_view": False}
    now = timezone.now()
    assets: list[Any] = list(pages.get_queryset(request)[: limit + 1])
    for asset in assets:
        asset.fullness = overview.fullness(asset)
        asset.state = overview.state_of(asset.last_reading_at, now)
    return {
        "may_view": True,
        "may_add": pages.has_add_permission(request),
        "assets": assets[:limit],
        "there_are_more": len(assets) > limit,
        "now": now,
        "shows_tenants": request.user.is_superuser,
    }
