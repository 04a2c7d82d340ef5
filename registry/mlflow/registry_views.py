"""/ai/mlflow/api/2.0/mlflow/registered-models and model-versions."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from omarino.authentication import principal
from omarino.errors import NotFound
from omarino.permissions import MayManageModels, MayRead, PermissionsByVerb
from registry.errors import MlflowUnsupported
from registry.mlflow import actions, shapes
from registry.mlflow.base import TAGS, MlflowView
from registry.mlflow.serializers import (
    AliasSerializer,
    AnswerSerializer,
    CreateModelSerializer,
    CreateVersionSerializer,
    LatestSerializer,
    NameSerializer,
    NumberSerializer,
    SearchSerializer,
    SetAliasSerializer,
    TransitionSerializer,
)
from registry.models import RegisteredModel, Stage

# The client adds this of its own accord, to leave out prompts; there are none.
NO_PROMPTS = re.compile(r"(?:\s+and\s+)?tags?\.`mlflow\.prompt\.is_prompt`\s*!=\s*'true'", re.IGNORECASE)
ALIAS = "production"
DEFAULT_RESULTS, MOST_RESULTS = 100, 1000
BY_NAME = re.compile(r"\s*name\s*(=|i?like)\s*'([^']*)'\s*", re.IGNORECASE)


class CreateModelView(MlflowView):
    """A model without versions yet."""

    permission_classes = [MayManageModels]

    @extend_schema(
        request=CreateModelSerializer,
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_create_model",
    )
    def post(self, request: Request) -> Response:
        said = self.said(request, CreateModelSerializer)
        model = actions.create_model(tenant_id=principal(request).tenant_id, name=said["name"])
        return Response({"registered_model": shapes.of_model(model)})


class ModelView(MlflowView):
    permission_classes = [MayRead]

    @extend_schema(
        parameters=[NameSerializer], responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_get_model"
    )
    def get(self, request: Request) -> Response:
        said = self.said(request, NameSerializer)
        model = actions.model_named(principal(request).tenant_id, said["name"])
        return Response({"registered_model": shapes.of_model(model)})


class SearchModelsView(MlflowView):
    """`filter` may be empty, or by name: `name = 'site-load'`, `name LIKE 'site%'`."""

    permission_classes = [MayRead]

    @extend_schema(
        parameters=[SearchSerializer],
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_search_models",
    )
    def get(self, request: Request) -> Response:
        said = self.said(request, SearchSerializer)
        models = RegisteredModel.objects.for_tenant(principal(request).tenant_id).order_by("name")
        page, following = _page(by_name(models, said.get("filter", "")), said)
        found = [shapes.of_model(model) for model in page.prefetch_related("versions")]
        return Response({"registered_models": found, "next_page_token": following, "total": len(found)})


class LatestVersionsView(MlflowView):
    """The newest version in each stage."""

    permission_classes = [MayRead]

    @extend_schema(
        request=LatestSerializer, responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_latest_versions"
    )
    def post(self, request: Request) -> Response:
        said = self.said(request, LatestSerializer)
        model = shapes.of_model(actions.model_named(principal(request).tenant_id, said["name"]))
        wanted = {stage.lower() for stage in said.get("stages", [])}
        found = [
            version
            for version in model["latest_versions"]
            if not wanted or version["current_stage"].lower() in wanted
        ]
        return Response({"model_versions": found})


class CreateVersionView(MlflowView):
    """Register the model file of an uploaded folder. It is opened apart like every other artifact."""

    permission_classes = [MayManageModels]
    throttle_scope = "heavy"

    @extend_schema(
        request=CreateVersionSerializer,
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_create_version",
    )
    def post(self, request: Request) -> Response:
        said = self.said(request, CreateVersionSerializer)
        model, version, number = actions.create_version(
            by=principal(request),
            name=said["name"],
            source=said["source"],
            run_id=said.get("run_id", ""),
            tags=shapes.unpaired(said.get("tags", [])),
            description=said.get("description", ""),
        )
        return Response({"model_version": shapes.of_version(version, number, model)})


class VersionView(MlflowView):
    permission_classes = [MayRead]

    @extend_schema(
        parameters=[NumberSerializer],
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_get_version",
    )
    def get(self, request: Request) -> Response:
        said = self.said(request, NumberSerializer)
        model, version, number = actions.version_numbered(
            principal(request).tenant_id, said["name"], said["version"]
        )
        return Response({"model_version": shapes.of_version(version, number, model)})


class DeleteVersionView(MlflowView):
    permission_classes = [MayManageModels]

    @extend_schema(
        request=NumberSerializer, responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_delete_version"
    )
    def delete(self, request: Request) -> Response:
        said = self.said(request, NumberSerializer)
        actions.delete(by=principal(request), name=said["name"], number=said["version"])
        return Response({})


class SearchVersionsView(MlflowView):
    """`filter` may be empty, or by name: `name = 'site-load'`."""

    permission_classes = [MayRead]

    @extend_schema(
        parameters=[SearchSerializer],
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_search_versions",
    )
    def get(self, request: Request) -> Response:
        said = self.said(request, SearchSerializer)
        models = RegisteredModel.objects.for_tenant(principal(request).tenant_id).order_by("name")
        named = by_name(models, said.get("filter", "")).prefetch_related("versions")[:MOST_RESULTS]
        found: list[dict[str, Any]] = []
        for model in named:
            numbers = shapes.numbers_of(model)
            found += [shapes.of_version(each, numbers[each.pk], model) for each in model.versions.all()]
        start, size = _window(said)
        following = str(start + size) if len(found) > start + size else ""
        part = found[start : start + size]
        return Response({"model_versions": part, "next_page_token": following, "total": len(part)})


class TransitionView(MlflowView):
    """To Staging, Production or Archived, by the model's gates. What it replaces in production is archived."""

    permission_classes = [MayManageModels]

    @extend_schema(
        request=TransitionSerializer, responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_transition"
    )
    def post(self, request: Request) -> Response:
        said = self.said(request, TransitionSerializer)
        stage = said["stage"].lower()
        if stage not in Stage.values:
            raise MlflowUnsupported(reason="The stages here are Staging, Production and Archived")
        model, version, number = actions.move(
            by=principal(request), name=said["name"], number=said["version"], stage=stage, reason="by MLflow"
        )
        return Response({"model_version": shapes.of_version(version, number, model)})


class DownloadUriView(MlflowView):
    permission_classes = [MayRead]

    @extend_schema(
        parameters=[NumberSerializer],
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_download_uri",
    )
    def get(self, request: Request) -> Response:
        said = self.said(request, NumberSerializer)
        model, _, number = actions.version_numbered(
            principal(request).tenant_id, said["name"], said["version"]
        )
        return Response({"artifact_uri": shapes.download_uri(model.name, number)})


class AliasView(PermissionsByVerb, MlflowView):
    """The one alias is `production`: to set it promotes, by the gates, and to delete it archives."""

    permission_classes = [MayRead]
    verb_permissions = {"post": [MayManageModels], "delete": [MayManageModels]}

    @extend_schema(
        parameters=[AliasSerializer], responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_get_alias"
    )
    def get(self, request: Request) -> Response:
        said = self.said(request, AliasSerializer)
        if said["alias"] != ALIAS:
            raise NotFound()
        model, version, number = actions.in_production(principal(request).tenant_id, said["name"])
        return Response({"model_version": shapes.of_version(version, number, model)})

    @extend_schema(
        request=SetAliasSerializer, responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_set_alias"
    )
    def post(self, request: Request) -> Response:
        said = self.said(request, SetAliasSerializer)
        _check_alias(said["alias"])
        actions.move(
            by=principal(request),
            name=said["name"],
            number=said["version"],
            stage=Stage.PRODUCTION,
            reason="alias set by MLflow",
        )
        return Response({})

    @extend_schema(
        request=AliasSerializer, responses=AnswerSerializer, tags=TAGS, operation_id="mlflow_delete_alias"
    )
    def delete(self, request: Request) -> Response:
        said = self.said(request, AliasSerializer)
        _check_alias(said["alias"])
        who = principal(request)
        _, _, number = actions.in_production(who.tenant_id, said["name"])
        actions.move(
            by=who,
            name=said["name"],
            number=str(number),
            stage=Stage.ARCHIVED,
            reason="alias deleted by MLflow",
        )
        return Response({})


def _check_alias(alias: str) -> None:
    if alias != ALIAS:
        raise MlflowUnsupported(
            reason="The one alias here is production, which stands for the version that serves"
        )


def by_name(models: Any, text: str) -> Any:
    """Rows whose name a filter of MLflow asks for."""
    text = NO_PROMPTS.sub("", text)
    if not text.strip():
        return models
    found = BY_NAME.fullmatch(text)
    if found is None:
        raise MlflowUnsupported(reason="Search by name alone: name = 'site-load' or name LIKE 'site%'")
    if found[1] == "=":
        return models.filter(name=found[2])
    pattern = "".join(".*" if part == "%" else re.escape(part) for part in re.split("(%)", found[2]))
    return models.filter(**{"name__iregex" if found[1][0] in "iI" else "name__regex": f"^{pattern}$"})


def _page(models: Any, said: dict[str, Any]) -> tuple[Any, str]:
    start, size = _window(said)
    return models[start : start + size], str(start + size) if models.count() > start + size else ""


def _window(said: dict[str, Any]) -> tuple[int, int]:
    token = said.get("page_token", "")
    start = int(token) if token.isascii() and token.isdigit() and len(token) < 9 else 0
    return start, min(said.get("max_results", DEFAULT_RESULTS), MOST_RESULTS)
