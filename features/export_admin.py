"""Exports in the admin: how far each is, its file, and the buttons that cancel it or try it again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from features.models import ExportQuerySet, FeatureExport
from omarino.admin import TenantAdmin
from omarino.errors import HubError
from omarino.jobs import JobStatus
from omarino.permissions import MayUseFeatures

DONE = {"cancel": "The export is cancelled.", "retry": "The export is in the queue again."}


@admin.register(FeatureExport)
class FeatureExportAdmin(TenantAdmin[FeatureExport]):
    """Pages of their own; a form for every column would let people write what only a worker may."""

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

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        export = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, export):
            raise PermissionDenied
        if export is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]
        if request.method == "POST":
            return self._act(request, export)
        request.current_app = self.admin_site.name
        may = self._has_one_of(request, MayUseFeatures.roles)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(export),
            "export": export,
            "percent": round(100 * export.progress),
            "may_cancel": may and not export.is_over,
            "may_retry": may and export.status in (JobStatus.FAILED, JobStatus.CANCELLED),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/features/featureexport/page.html", context)

    def _act(self, request: HttpRequest, export: FeatureExport) -> HttpResponse:
        """What a button asks for, by the same verbs as the API."""
        asked = request.POST.get("do", "")
        if not self._has_one_of(request, MayUseFeatures.roles) or asked not in DONE:
            raise PermissionDenied
        exports: ExportQuerySet = FeatureExport.objects.for_tenant(export.tenant_id)
        try:
            exports.cancel(export.pk) if asked == "cancel" else exports.retry(export.pk)
        except HubError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, DONE[asked])
        return redirect("admin:features_featureexport_change", export.pk)
