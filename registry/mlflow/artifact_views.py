"""/ai/mlflow/api/2.0/mlflow-artifacts/artifacts: files of runs and logged models, and of registered versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.conf import settings
from django.http import FileResponse, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from omarino.authentication import principal
from omarino.errors import NotFound
from omarino.permissions import MayManageModels, MayRead, PermissionsByVerb
from registry import artifacts
from registry.mlflow import actions, folders
from registry.mlflow.base import TAGS, MlflowView
from registry.mlflow.serializers import AnswerSerializer, PathSerializer
from registry.models import ModelVersion
from registry.views import BytesParser

OCTETS = "application/octet-stream"


class ArtifactListView(MlflowView):
    """What lies in a folder."""

    permission_classes = [MayRead]

    @extend_schema(
        parameters=[PathSerializer],
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_list_artifacts",
    )
    def get(self, request: Request) -> Response:
        path = self.said(request, PathSerializer).get("path", "").strip("/")
        version, rest = _registered(request, path)
        if version is None:
            sizes = folders.files_in(principal(request).tenant_id, path)
        elif rest:
            sizes = {}  # its folder has no folders
        else:
            named = folders.of_version(version)
            sizes = {
                name: (version.size_bytes or 0) if content is None else len(content)
                for name, content in named.items()
            }
        return Response({"files": _level(sizes)})


class ArtifactView(PermissionsByVerb, MlflowView):
    """One file. What is uploaded is not opened before it is registered."""

    permission_classes = [MayRead]
    throttle_scope = "heavy"
    verb_permissions = {"put": [MayManageModels]}
    parser_classes = [BytesParser]
    max_body_bytes = settings.MODEL_MAX_BYTES

    @extend_schema(
        responses={(200, OCTETS): OpenApiTypes.BINARY}, tags=TAGS, operation_id="mlflow_download_artifact"
    )
    def get(self, request: Request, path: str) -> FileResponse | HttpResponse:
        version, rest = _registered(request, path)
        if version is None:
            file = folders.opened(principal(request).tenant_id, path)
            return FileResponse(file, as_attachment=True, content_type=OCTETS)
        named = folders.of_version(version)
        if rest not in named:
            raise NotFound()
        if (content := named[rest]) is not None:
            return HttpResponse(content, content_type=OCTETS)
        headers = {"Content-Length": str(version.size_bytes)}
        return FileResponse(
            artifacts.opened(version), as_attachment=True, content_type=OCTETS, headers=headers
        )

    @extend_schema(
        request={OCTETS: OpenApiTypes.BINARY},
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id="mlflow_upload_artifact",
    )
    def put(self, request: Request, path: str) -> Response:
        chunks = cast("Iterator[bytes]", request.data)
        actions.keep_file(tenant_id=principal(request).tenant_id, path=path, chunks=chunks)
        return Response({})


def _registered(request: Request, path: str) -> tuple[ModelVersion | None, str]:
    """The version whose folder a path leads into, and what follows; None for what was uploaded."""
    kind, _, rest = path.partition("/")
    if kind != "registered":
        return None, ""
    name, _, rest = rest.partition("/")
    number, _, rest = rest.partition("/")
    _, version, _ = actions.version_numbered(principal(request).tenant_id, name, number)
    return version, rest


def _level(sizes: dict[str, int]) -> list[dict[str, Any]]:
    """The files and folders of one level, as MLflow lists them."""
    entries: dict[str, dict[str, Any]] = {}
    for name, size in sorted(sizes.items()):
        first, _, deeper = name.partition("/")
        entries[first] = (
            {"path": first, "is_dir": True} if deeper else {"path": first, "is_dir": False, "file_size": size}
        )
    return list(entries.values())
