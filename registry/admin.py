"""Models in the admin: what is in production, the candidate beside it, the verdict before the button."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from omarino.admin import PageAdmin, person
from omarino.authentication import Principal
from omarino.errors import HubError
from omarino.permissions import MayManageModels
from registry import traffic
from registry.actions import approve_version, promote_version
from registry.gates import Gates, beside
from registry.models import ALLOWED, ModelVersion, Reference, RegisteredModel, RegisteredModelQuerySet, Stage

MAX_REASON = 2000
WORDS = {Stage.PRODUCTION: "Put into production", Stage.ARCHIVED: "Archive", Stage.STAGING: "Back to staging"}


def badge(stage: str) -> SafeString:
    return format_html('<span class="stage stage-{}">{}</span>', stage or "none", stage or "none")


class _Records(PageAdmin[Any]):
    act_roles = MayManageModels.roles


@admin.register(RegisteredModel)
class RegisteredModelAdmin(_Records):
    page = "admin/registry/registeredmodel/page.html"
    list_display = ["name", "in_production", "since", "newest", "versions"]
    search_fields = ["name"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        models = super().get_queryset(request)
        assert isinstance(models, RegisteredModelQuerySet)  # noqa: S101  what the type checker cannot see
        return models.with_versions()

    @admin.display(description="In production", ordering="production_version")
    def in_production(self, model: Any) -> SafeString:
        if model.production_version is None:
            return badge("")
        return format_html("{} {}", badge(Stage.PRODUCTION), model.production_version)

    @admin.display(description="Since", ordering="production_since")
    def since(self, model: Any) -> str:
        return f"{model.production_since:%-d %b %Y %H:%M}" if model.production_version else "–"

    @admin.display(description="Newest version", ordering="newest_version")
    def newest(self, model: Any) -> str:
        return model.newest_version or "–"

    @admin.display(description="Versions", ordering="version_count")
    def versions(self, model: Any) -> int:
        return int(model.version_count)

    def context_of(self, request: HttpRequest, row: RegisteredModel) -> dict[str, Any]:
        gates = Gates.of(row.gates)
        rules = [f"has {metric}" for metric in gates.required_metrics]
        rules += [
            f"{rule.metric} not worse than the incumbent's by more than {rule.percent:g} %"
            for rule in gates.not_worse
        ]
        rules += ["approved by a second person"] if gates.two_person else []
        return {
            "title": f"Model {row.name}",
            "model": row,
            "versions": list(row.versions.select_related("model")),
            "rules": rules,
            "traffic": traffic.report(row) if row.splits.exists() else None,
            "timeline": list(row.transitions.order_by("-id")[:100]),
        }


@admin.register(ModelVersion)
class ModelVersionAdmin(_Records):
    page = "admin/registry/modelversion/page.html"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False  # reached from its model

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("model")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("admin:registry_registeredmodel_changelist")

    def context_of(self, request: HttpRequest, row: ModelVersion) -> dict[str, Any]:
        incumbent = row.model.versions.production().exclude(pk=row.pk).first()
        targets = ALLOWED[Stage(row.stage)] if self.may_act(request) else ()
        is_candidate = Stage.PRODUCTION in ALLOWED[Stage(row.stage)]
        findings = (
            row.findings(incumbent, promoted_by=_principal(request, row).subject) if is_candidate else []
        )
        is_rollback = row.stage == Stage.ARCHIVED and row.has_served
        return {
            "title": f"{row.model.name} {row.version}",
            "version": row,
            "incumbent": incumbent,
            "compared": beside(row.metrics, incumbent.metrics if incumbent else {}),
            "findings": findings,
            "is_candidate": is_candidate,
            "is_rollback": is_rollback,
            "may_go": all(finding.holds for finding in findings),
            "choices": [
                (
                    target,
                    "Roll back to this version"
                    if is_rollback and target == Stage.PRODUCTION
                    else WORDS[target],
                )
                for target in targets
            ],
            "approvals": list(row.approvals.all()),
            "two_person": Gates.of(row.model.gates).two_person,
            "timeline": list(row.model.transitions.filter(version_id=row.pk).order_by("-id")),
        }

    def act(self, request: HttpRequest, row: ModelVersion) -> HttpResponse:
        """What a button asks for, by the same verbs as the API."""
        asked = request.POST.get("do", "")
        reason = request.POST.get("reason", "").strip()[:MAX_REASON]
        who, reference = _principal(request, row), Reference.parse(str(row))
        try:
            if asked == "approve":
                approve_version(tenant_id=row.tenant_id, reference=reference, by=who, reason=reason)
                messages.success(request, f"You approve {row.version}.")
            elif asked not in Stage.values:
                raise PermissionDenied
            elif not reason:
                messages.error(request, "Say why: the reason stays in the history.")
            else:
                _, noted = promote_version(
                    tenant_id=row.tenant_id, reference=reference, target_stage=asked, by=who, reason=reason
                )
                messages.success(
                    request, f"Version {row.version} went from {noted.from_stage} to {noted.to_stage}."
                )
        except HubError as refusal:
            messages.error(request, str(refusal))
        return redirect("admin:registry_modelversion_change", row.pk)


def _principal(request: HttpRequest, row: ModelVersion) -> Principal:
    """The person, for the tenant of the row: a superuser acts in any."""
    who = person(request)
    return Principal(who.subject or f"user:{who.pk}", row.tenant_id, who.roles, who.get_username())
