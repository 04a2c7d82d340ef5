"""Detections, watches and alerts in the admin: to look at. The first and last are records, so nobody changes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from anomalies.charts import flagged_chart, in_words
from anomalies.models import Alert, Detection, DetectionQuerySet, Watch
from features.models import Asset
from omarino.admin import TenantAdmin
from omarino.templatetags.quantities import percent

SHOWN = 500  # rows of the table; the API gives all


class DetectionList(ChangeList):
    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        detections = super().get_queryset(request, exclude_parameters)
        return detections.without_anomalies() if isinstance(detections, DetectionQuerySet) else detections


@admin.register(Detection)
class DetectionAdmin(TenantAdmin[Detection]):
    list_display = [
        "asset_id",
        "first_at",
        "last_at",
        "method",
        "anomalies_detected",
        "share",
        "highest",
        "made_at",
    ]
    list_filter = ["method", "made_at"]
    search_fields = ["asset_id"]
    list_per_page = 50

    @admin.display(description="Share of points")
    def share(self, detection: Detection) -> str:
        return percent(detection.anomaly_rate)

    @admin.display(description="Highest score", ordering="max_score")
    def highest(self, detection: Detection) -> str:
        return f"{detection.max_score:.1f}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DetectionList

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one detection."""
        detection = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, detection):
            raise PermissionDenied
        if detection is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        asset = Asset.objects.for_tenant(detection.tenant_id).filter(asset_id=detection.asset_id).first()
        verdicts = {verdict.timestamp: verdict for verdict in detection.feedback.all()}
        rows = []
        for anomaly in detection.anomalies[:SHOWN]:
            at = datetime.fromisoformat(anomaly["timestamp"])
            rows.append({**anomaly, "at": at, "verdict": verdicts.get(at)})
        chart = flagged_chart(detection, asset)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{asset or detection.asset_id}: what was unusual",
            "detection": detection,
            "original": detection,
            "asset": asset,
            "rows": rows,
            "not_shown": max(0, len(detection.anomalies) - SHOWN),
            "zone": chart["zone"],
            "chart": chart,
            "chart_in_words": in_words(detection),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/anomalies/detection/page.html", context)


@admin.register(Watch)
class WatchAdmin(TenantAdmin[Watch]):
    """What is watched, and whether looking works. The API sets watches up and changes them."""

    list_display = ["asset_id", "method", "every", "minimum_severity", "is_active", "looked_at", "last_error"]
    list_filter = ["is_active", "method"]
    search_fields = ["asset_id"]
    list_per_page = 50
    exclude = ["webhook_secret", "tenant_id"]
    readonly_fields = ["created_by", "created_at", "looked_at", "next_look_at", "judged_until", "last_error"]


@admin.register(Alert)
class AlertAdmin(TenantAdmin[Alert]):
    """What the watches found, and whether somebody was told."""

    list_display = ["asset", "kind", "severity", "first_at", "last_at", "sending", "last_answer", "raised_at"]
    list_filter = ["severity", "sending", "kind", "raised_at"]
    search_fields = ["watch__asset_id"]
    list_select_related = ["watch"]
    list_per_page = 50
    exclude = ["tenant_id"]

    @admin.display(description="Asset", ordering="watch__asset_id")
    def asset(self, alert: Alert) -> str:
        return alert.watch.asset_id
