"""Explanations in the admin: a page for each, and the verb behind the buttons on the pages of what they explain."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_POST

from anomalies.models import Detection
from explanations.models import Explanation, Scope, Subject
from explanations.pictures import OF_SCOPE, picture, title_of
from explanations.wording import label_of
from forecasting.models import Forecast
from omarino.admin import PageAdmin, person
from omarino.errors import HubError, NotFound
from omarino.jobs import JobStatus
from registry.models import ModelVersion

PAGES = {
    Subject.FORECAST: (Forecast, "admin:forecasting_forecast_change"),
    Subject.DETECTION: (Detection, "admin:anomalies_detection_change"),
    Subject.MODEL: (ModelVersion, "admin:registry_modelversion_change"),
}


@admin.register(Explanation)
class ExplanationAdmin(PageAdmin[Explanation]):
    page = "admin/explanations/explanation/page.html"
    list_display = ["what", "scope", "asset_id", "status", "asked"]
    list_filter = ["scope", "subject", "status", "requested_at"]
    search_fields = ["model_name", "asset_id"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        is_list = request.resolver_match is not None and str(request.resolver_match.url_name).endswith(
            "changelist"
        )
        return rows.without_pictures() if is_list else rows

    @admin.display(description="What", ordering="model_name")
    def what(self, explanation: Explanation) -> str:
        return title_of(explanation)

    @admin.display(description="Asked (UTC)", ordering="requested_at")
    def asked(self, explanation: Explanation) -> str:
        return f"{explanation.requested_at:%-d %b %Y %H:%M}"

    def get_urls(self) -> list[URLPattern]:
        ask = self.admin_site.admin_view(require_POST(self.ask_view))
        return [
            path("ask/<str:subject>/<uuid:pk>/", ask, name="explanations_explanation_ask"),
            *super().get_urls(),
        ]

    def ask_view(self, request: HttpRequest, subject: str, pk: UUID) -> HttpResponse:
        """What a button on the page of a forecast, a detection or a version asks for."""
        # Every command and worker finds these pages at its start; only this one needs what loads models.
        from explanations.actions import explain, explain_globally

        if not self.has_view_permission(request) or subject not in PAGES:
            raise PermissionDenied
        who = person(request)
        model, page = PAGES[Subject(subject)]
        rows: Any = model._default_manager.all()
        row = (
            rows.filter(pk=pk).first()
            if who.is_superuser
            else rows.filter(tenant_id=who.tenant_id, pk=pk).first()
        )
        if row is None:
            raise NotFound
        by = who.subject or f"user:{who.pk}"
        try:
            if isinstance(row, ModelVersion):
                explanation = explain_globally(
                    tenant_id=row.tenant_id, by=by, model_name=row.model.name, model_version=row.version
                )
            else:
                said = request.POST.get("step", "")
                step = int(said) if said.isascii() and said.isdigit() and len(said) < 7 else None
                explanation = explain(tenant_id=row.tenant_id, by=by, prediction_id=pk, step=step)
        except HubError as refusal:
            messages.error(request, str(refusal))
            return redirect(page, pk)
        if explanation.status != JobStatus.COMPLETED:
            messages.info(request, "It takes a while; look at this page again.")
        return redirect("admin:explanations_explanation_change", explanation.pk)

    def context_of(self, request: HttpRequest, row: Explanation) -> dict[str, Any]:
        return {
            "title": title_of(row),
            "explanation": row,
            "pictures": pictures_of(row),
            "parts": [{**part, "label": label_of(part["feature_name"])} for part in row.parts],
            "importances": [
                {**each, "label": label_of(each["feature_name"])}
                for each in row.answer.get("global_importances", [])
            ],
            "is_global": row.scope == Scope.GLOBAL,
            "subject_page": PAGES[Subject(row.subject)][1],
        }


def pictures_of(explanation: Explanation) -> list[tuple[str, Any]]:
    """The kinds and their SVG, safe to stand in a page: every text in it was escaped when it was drawn."""
    if explanation.status != JobStatus.COMPLETED:
        return []
    return [(kind, mark_safe(picture(explanation, kind))) for kind in OF_SCOPE[Scope(explanation.scope)]]  # noqa: S308
