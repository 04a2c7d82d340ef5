"""Detections in the admin: make one, look at one, say whether it was right. They are records, so nobody changes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.dateparse import parse_datetime

from anomalies import watch_admin
from anomalies.charts import flagged_chart, in_words
from anomalies.device_admin import WithDevices
from anomalies.models import Detection, DetectionQuerySet
from features.models import Asset
from omarino.admin import person
from omarino.errors import HubError
from omarino.permissions import MayDetectAnomalies
from omarino.templatetags.quantities import percent, score

__all__ = ["DetectionAdmin", "watch_admin"]  # Django looks for pages in this module only

SHOWN = 500  # rows of the table; the API gives all


class DetectionList(ChangeList):
    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        detections = super().get_queryset(request, exclude_parameters)
        return detections.without_anomalies() if isinstance(detections, DetectionQuerySet) else detections


@admin.register(Detection)
class DetectionAdmin(WithDevices):
    page = "admin/anomalies/detection/page.html"
    add_roles = act_roles = MayDetectAnomalies.roles
    list_display = ["asset_id", "window", "method", "found", "share", "highest", "made"]
    list_filter = ["method", "made_at"]
    search_fields = ["asset_id"]
    list_per_page = 50

    @admin.display(description="Judged (UTC)", ordering="first_at")
    def window(self, detection: Detection) -> str:
        return f"{detection.first_at:%-d %b %Y} to {detection.last_at:%-d %b %Y}"

    @admin.display(description="Flagged", ordering="anomalies_detected")
    def found(self, detection: Detection) -> int:
        return detection.anomalies_detected

    @admin.display(description="Share of points")
    def share(self, detection: Detection) -> str:
        return percent(detection.anomaly_rate)

    @admin.display(description="Highest score", ordering="max_score")
    def highest(self, detection: Detection) -> str:
        return score(detection.max_score)

    @admin.display(description="Made (UTC)", ordering="made_at")
    def made(self, detection: Detection) -> str:
        return f"{detection.made_at:%-d %b %Y %H:%M}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DetectionList

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Not a row to fill in: what is asked for, and readings are judged."""
        # Every command and worker finds these pages at its start; only this one needs the detectors.
        from anomalies.actions import detect
        from anomalies.forms import DetectionForm

        if not self.has_add_permission(request):
            raise PermissionDenied
        form = DetectionForm(
            request.POST if request.method == "POST" else None,
            assets=watch_admin.assets_of(request),
            names_tenants=person(request).is_superuser,
            initial={"asset": request.GET.get("asset")},
        )
        if form.is_valid():
            try:
                detection, _ = detect(**form.asked())
            except HubError as refusal:
                form.add_error(None, str(refusal))
            else:
                return redirect("admin:anomalies_detection_change", detection.pk)
        context = {"title": "Look for anomalies", "form": form, "button": "Look for anomalies"}
        return self.page_of(request, "admin/question.html", {**context, **(extra_context or {})})

    def context_of(self, request: HttpRequest, row: Detection) -> dict[str, Any]:
        asset = Asset.objects.for_tenant(row.tenant_id).filter(asset_id=row.asset_id).first()
        verdicts = {verdict.timestamp: verdict for verdict in row.feedback.all()}
        rows = []
        for anomaly in row.anomalies[:SHOWN]:
            at = datetime.fromisoformat(anomaly["timestamp"])
            rows.append({**anomaly, "at": at, "verdict": verdicts.get(at)})
        chart = flagged_chart(row, asset)
        return {
            "title": f"{asset or row.asset_id}: what was unusual",
            "detection": row,
            "asset": asset,
            "rows": rows,
            "not_shown": max(0, len(row.anomalies) - SHOWN),
            "zone": chart["zone"],
            "time_format": _time_format(row, ZoneInfo(chart["zone"])),
            "chart": chart,
            "chart_in_words": in_words(row),
        }

    def act(self, request: HttpRequest, row: Detection) -> HttpResponse:
        """A verdict on one of its points."""
        from anomalies.actions import give_feedback

        verdict, _, said = request.POST.get("verdict", "").partition(" ")
        try:
            at = parse_datetime(said)
        except ValueError:
            at = None
        if verdict not in ("true", "false") or at is None or at.tzinfo is None:
            raise PermissionDenied
        who = person(request)
        try:
            _, suggested = give_feedback(
                tenant_id=row.tenant_id,
                detection_id=row.pk,
                timestamp=at,
                is_true=verdict == "true",
                comment="",
                given_by=who.subject or f"user:{who.pk}",
            )
        except HubError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, _thanks(suggested, row.sensitivity))
        return redirect("admin:anomalies_detection_change", row.pk)


def _time_format(detection: Detection, zone: ZoneInfo) -> str:
    """Of Django's filter `date`; with the year where the window touches more than one."""
    years = {at.astimezone(zone).year for at in (detection.first_at, detection.last_at)}
    return "D j M Y H:i" if len(years) > 1 else "D j M H:i"


def _thanks(suggested: float | None, sensitivity: float) -> str:
    if suggested is None or suggested == sensitivity:
        return "The verdict is kept."
    return f"The verdict is kept. The verdicts so far suggest a sensitivity of {suggested:g}."
