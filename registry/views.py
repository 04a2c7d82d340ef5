"""/ai/models/: register, look, promote, delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any, cast

from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse, UnreadablePostError
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.authentication import principal
from omarino.errors import MalformedBody
from omarino.permissions import MayManageModels, MayRead, PermissionsByVerb
from registry import actions, artifacts
from registry.errors import ArtifactMissing, ArtifactTooLarge
from registry.models import ModelVersion, Reference
from registry.serializers import (
    ApprovedSerializer,
    AsOfSerializer,
    DeletedSerializer,
    DeleteQuerySerializer,
    GatesRequestSerializer,
    GatesSerializer,
    ListFilterSerializer,
    PromotedSerializer,
    PromoteRequestSerializer,
    ReasonSerializer,
    RegisteredSerializer,
    RegisterRequestSerializer,
    TransitionSerializer,
    VersionSerializer,
    VersionSummarySerializer,
    utc,
    without_tenant,
)

TAGS = ["models"]


class BytesParser(BaseParser):
    """The body as a stream: it is read as it comes and never held whole."""

    media_type = "*/*"  # what a client calls it says nothing: the content decides

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        announced = stream.META.get("CONTENT_LENGTH") if hasattr(stream, "META") else None
        if announced and int(announced) > settings.MODEL_MAX_BYTES:  # Django has read it as a number before
            raise ArtifactTooLarge(limit_bytes=settings.MODEL_MAX_BYTES)
        return self._chunks(stream)

    @staticmethod
    def _chunks(stream: Any) -> Iterator[bytes]:
        while True:
            try:
                chunk: bytes = stream.read(artifacts.CHUNK_BYTES)
            except UnreadablePostError as fault:
                raise MalformedBody(reason="the connection ended before all of it had arrived") from fault
            if not chunk:
                return
            yield chunk


class RegisterView(APIView):
    """Register a version, with its artifact in base64 or without; large ones follow by PUT .../artifact."""

    permission_classes = [MayManageModels]
    max_body_bytes = 100_663_296

    @extend_schema(
        request=RegisterRequestSerializer,
        responses={201: RegisteredSerializer},
        tags=TAGS,
        operation_id="register_model",
    )
    def post(self, request: Request) -> Response:
        asked = RegisterRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        file = said.pop("model_file", None)
        with artifacts.received([file]) if file is not None else nullcontext() as upload:
            version = actions.register_version(**said, by=principal(request), upload=upload)
        return Response(RegisteredSerializer(version).data, status=201)


class VersionView(PermissionsByVerb, APIView):
    """One version, by its exact id or as `production` or `latest`."""

    permission_classes = [MayRead]
    verb_permissions = {"delete": [MayManageModels]}

    @extend_schema(
        parameters=[AsOfSerializer], responses=VersionSerializer, tags=TAGS, operation_id="get_model_version"
    )
    def get(self, request: Request, model_id: str) -> Response:
        asked = AsOfSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        version = _version(request, model_id)
        return Response(VersionSerializer(version, context=asked.validated_data).data)

    @extend_schema(
        parameters=[DeleteQuerySerializer],
        responses={200: DeletedSerializer},
        tags=TAGS,
        operation_id="delete_model_version",
    )
    def delete(self, request: Request, model_id: str) -> Response:
        asked = DeleteQuerySerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        who = principal(request)
        version, files = actions.delete_version(
            tenant_id=who.tenant_id, reference=Reference.parse(model_id), by=who, **asked.validated_data
        )
        message = f"Deleted with {files} files; its history is kept."
        return Response(
            {"model_id": str(version), "status": "deleted", "files_deleted": files, "message": message}
        )


class ArtifactView(PermissionsByVerb, APIView):
    """The artifact of a version: send it once, as it is; fetch it as often as you like."""

    permission_classes = [MayRead]
    verb_permissions = {"put": [MayManageModels]}
    parser_classes = [BytesParser]
    max_body_bytes = settings.MODEL_MAX_BYTES

    @extend_schema(
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
        tags=TAGS,
        operation_id="download_artifact",
    )
    def get(self, request: Request, model_id: str) -> FileResponse:
        version = _version(request, model_id)
        if not version.format:
            raise ArtifactMissing(model_id=str(version))
        name = f"{version.model.name}-{version.version}{version.storage_path.rpartition('model')[2]}"
        return FileResponse(
            artifacts.opened(version),
            as_attachment=True,
            filename=name,
            content_type="application/octet-stream",
            headers={"ETag": f'"{version.sha256}"', "Content-Length": str(version.size_bytes)},
        )

    @extend_schema(
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=RegisteredSerializer,
        tags=TAGS,
        operation_id="upload_artifact",
    )
    def put(self, request: Request, model_id: str) -> Response:
        who, reference = principal(request), Reference.parse(model_id)
        actions.version_of(tenant_id=who.tenant_id, reference=reference)  # before all of it is taken in
        with artifacts.received(cast("Iterator[bytes]", request.data)) as upload:
            version = actions.attach_artifact(tenant_id=who.tenant_id, reference=reference, upload=upload)
        return Response(RegisteredSerializer(version).data)


class PromoteView(APIView):
    """Move a version to another stage. Who is in production is archived at the same moment."""

    permission_classes = [MayManageModels]

    @extend_schema(
        request=PromoteRequestSerializer,
        responses=PromotedSerializer,
        tags=TAGS,
        operation_id="promote_model",
    )
    def put(self, request: Request, model_id: str) -> Response:
        asked = PromoteRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        who, said = principal(request), asked.validated_data
        version, noted = actions.promote_version(
            tenant_id=who.tenant_id,
            reference=Reference.parse(model_id),
            target_stage=said["target_stage"],
            by=who,
            reason=said.get("reason") or "",
        )
        replaced = f"; it replaces {noted.incumbent}, which is archived" if noted.incumbent else ""
        return Response(
            {
                "model_id": str(version),
                "model_name": version.model.name,
                "version": version.version,
                "previous_stage": noted.from_stage,
                "current_stage": noted.to_stage,
                "promoted_at": utc(noted.at),
                "message": f"{version.version} went from {noted.from_stage} to {noted.to_stage}{replaced}.",
            }
        )


class ApproveView(APIView):
    """Say that a version may go to production, for models whose rules ask for two people."""

    permission_classes = [MayManageModels]

    @extend_schema(
        request=ReasonSerializer, responses=ApprovedSerializer, tags=TAGS, operation_id="approve_model"
    )
    def post(self, request: Request, model_id: str) -> Response:
        asked = ReasonSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        who = principal(request)
        version = actions.approve_version(
            tenant_id=who.tenant_id,
            reference=Reference.parse(model_id),
            by=who,
            **without_tenant(asked.validated_data),
        )
        names = list(version.approvals.values_list("by_name", flat=True))
        return Response({"model_id": str(version), "approved_by": names})


class GatesView(PermissionsByVerb, APIView):
    """The rules that a model's versions must meet to go to production: `{tenant}:{model}`."""

    permission_classes = [MayRead]
    verb_permissions = {"put": [MayManageModels]}

    @extend_schema(responses=GatesSerializer, tags=TAGS, operation_id="get_gates")
    def get(self, request: Request, model_id: str) -> Response:
        model = actions.model_of(tenant_id=principal(request).tenant_id, reference=Reference.parse(model_id))
        asked = GatesSerializer(data=model.gates)
        asked.is_valid(raise_exception=True)
        return Response(asked.validated_data)

    @extend_schema(
        request=GatesRequestSerializer, responses=GatesSerializer, tags=TAGS, operation_id="set_gates"
    )
    def put(self, request: Request, model_id: str) -> Response:
        asked = GatesRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        model = actions.set_gates(
            tenant_id=principal(request).tenant_id,
            reference=Reference.parse(model_id),
            gates=without_tenant(asked.validated_data),
        )
        return Response(model.gates)


class ProductionView(APIView):
    """What is, or was, in production: `{tenant}:{model}`, and since when, by whom and why."""

    permission_classes = [MayRead]

    @extend_schema(
        parameters=[AsOfSerializer], responses=TransitionSerializer, tags=TAGS, operation_id="get_production"
    )
    def get(self, request: Request, model_id: str) -> Response:
        asked = AsOfSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        noted = actions.production_at(
            tenant_id=principal(request).tenant_id,
            reference=Reference.parse(model_id),
            as_of=asked.validated_data.get("as_of") or timezone.now(),
        )
        return Response(TransitionSerializer(noted).data)


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_models", parameters=[ListFilterSerializer])
)
class VersionListView(ListAPIView[ModelVersion]):
    """Versions of all models of the tenant, newest first."""

    permission_classes = [MayRead]
    serializer_class = VersionSummarySerializer
    list_name = "models"

    def get_queryset(self) -> QuerySet[ModelVersion]:
        if getattr(self, "swagger_fake_view", False):
            return ModelVersion.objects.none()
        asked = ListFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        names = {
            "model_name": "model__name",
            "tenant_id": "tenant_id",
            "stage": "stage",
            "model_type": "model_type",
        }
        rows = ModelVersion.objects.for_tenant(principal(self.request).tenant_id).select_related("model")
        return rows.filter(**{names[name]: value for name, value in said.items()})

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["tenant_id"] = principal(self.request).tenant_id
        return response


def _version(request: Request, model_id: str) -> ModelVersion:
    return actions.version_of(tenant_id=principal(request).tenant_id, reference=Reference.parse(model_id))
