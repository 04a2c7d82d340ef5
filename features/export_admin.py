"""Exports in the admin: how far each is, its file, and the buttons that cancel it or try it again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

from features.models import ExportQuerySet, FeatureExport
from omarino.admin import PageAdmin
from omarino.errors import HubError
from omarino.jobs import JobStatus
from omarino.permissions import MayUseFeatures

DONE = {"cancel": "The export is cancelled.", "retry": "The export is in the queue again."}


@admin.register(FeatureExport)
class FeatureExportAdmin(PageAdmin[FeatureExport]):
    page = "admin/features/featureexport/page.html"
    act_roles = MayUseFeatures.roles
    list_display = ["title", "state", "share", "row_count", "size", "requested_by", "requested_at"]
    list_filter = ["status", "feature_set"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureExport]:
        return super().get_queryset(request).defer("asset_ids")

    @admin.display(description="Export", ordering="feature_set")
    def title(self, export: FeatureExport) -> str:
        return str(export)

    @admin.display(description="State", ordering="status")
    def state(self, export: FeatureExport) -> SafeString:
        return format_html(
            '<span class="stage stage-{0}" title="{1}">{0}</span>', export.status, export.error
        )

    @admin.display(description="Done")
    def share(self, export: FeatureExport) -> str:
        return f"{export.progress:.0%}" if export.status == JobStatus.PROCESSING else "–"

    @admin.display(description="Size", ordering="file_size_bytes")
    def size(self, export: FeatureExport) -> str:
        return "–" if export.file_size_bytes is None else filesizeformat(export.file_size_bytes)

    def context_of(self, request: HttpRequest, row: FeatureExport) -> dict[str, Any]:
        may = self.may_act(request)
        return {
            "title": str(row),
            "export": row,
            "percent": round(100 * row.progress),
            "may_cancel": may and not row.is_over,
            "may_retry": may and row.status in (JobStatus.FAILED, JobStatus.CANCELLED),
        }

    def act(self, request: HttpRequest, row: FeatureExport) -> HttpResponse:
        """What a button asks for, by the same verbs as the API."""
        asked = request.POST.get("do", "")
        if asked not in DONE:
            raise PermissionDenied
        exports: ExportQuerySet = FeatureExport.objects.for_tenant(row.tenant_id)
        try:
            exports.cancel(row.pk) if asked == "cancel" else exports.retry(row.pk)
        except HubError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, DONE[asked])
        return redirect("admin:features_featureexport_change", row.pk)
