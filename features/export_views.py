"""POST /ai/features/export, and /ai/features/exports: what became of it, its file, cancel and retry."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.generics import ListAPIView, get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from features import export_files
from features.export_actions import request_export
from features.export_serializers import (
    ExportFilterSerializer,
    ExportRequestSerializer,
    ExportSerializer,
    ExportSummarySerializer,
)
from features.models import ExportQuerySet, FeatureExport
from omarino.api import NothingMoreSerializer
from omarino.authentication import principal
from omarino.permissions import MayRead, MayUseFeatures

TAGS = ["exports"]
PARQUET = "application/vnd.apache.parquet"
KEY = OpenApiParameter(
    "Idempotency-Key",
    location=OpenApiParameter.HEADER,
    description="The same request under the same key is one export; without a key each is a new one.",
)


def _exports(request: Request) -> ExportQuerySet:
    return FeatureExport.objects.for_tenant(principal(request).tenant_id)


def _check_body(request: Request) -> None:
    NothingMoreSerializer(data=request.data, context={"request": request}).is_valid(raise_exception=True)


class RequestExportView(APIView):
    """Ask for a file of a set's features as of every reading of a time. A worker writes it; its row says how
    far it is. 200 instead of 202 says that an earlier request under the same key asked for it already."""

    permission_classes = [MayUseFeatures]

    @extend_schema(
        request=ExportRequestSerializer,
        responses={202: ExportSerializer, 200: ExportSerializer},
        parameters=[KEY],
        tags=TAGS,
        operation_id="request_export",
    )
    def post(self, request: Request) -> Response:
        asked = ExportRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        export, is_new = request_export(
            tenant_id=principal(request).tenant_id,
            requested_by=principal(request).subject,
            request=asked.wanted(),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        answered = status.HTTP_202_ACCEPTED if is_new else status.HTTP_200_OK
        return Response(ExportSerializer(export).data, status=answered)


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_exports", parameters=[ExportFilterSerializer])
)
class ExportListView(ListAPIView[FeatureExport]):
    """Exports, newest first."""

    permission_classes = [MayRead]
    serializer_class = ExportSummarySerializer
    list_name = "exports"

    def get_queryset(self) -> QuerySet[FeatureExport]:
        if getattr(self, "swagger_fake_view", False):
            return FeatureExport.objects.none()
        asked = ExportFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        names = {"feature_set": "feature_set", "status_filter": "status"}
        wanted = {names[name]: value for name, value in asked.validated_data.items()}
        return _exports(self.request).defer("asset_ids", "feature_names").filter(**wanted)


class ExportView(APIView):
    """One export: how far it is, or what became of it."""

    permission_classes = [MayRead]

    @extend_schema(responses=ExportSerializer, tags=TAGS, operation_id="get_export")
    def get(self, request: Request, export_id: UUID) -> Response:
        return Response(ExportSerializer(get_object_or_404(_exports(request), pk=export_id)).data)


class DownloadExportView(APIView):
    """The file of a completed export, through this service: its storage need not be reachable by you."""

    permission_classes = [MayRead]

    @extend_schema(responses={(200, PARQUET): OpenApiTypes.BINARY}, tags=TAGS, operation_id="download_export")
    def get(self, request: Request, export_id: UUID) -> StreamingHttpResponse:
        export = get_object_or_404(_exports(request), pk=export_id)
        export.refuse_unless_completed()
        response = StreamingHttpResponse(export_files.read(export), content_type=PARQUET)
        response.headers["Content-Length"] = str(export.file_size_bytes)
        response.headers["Content-Disposition"] = f'attachment; filename="{export.download_name}"'
        response.headers["ETag"] = f'"{export.sha256}"'
        return response


class CancelExportView(APIView):
    """Take an export out of the queue, or stop the worker that is at it. Again changes nothing."""

    permission_classes = [MayUseFeatures]

    @extend_schema(
        request=NothingMoreSerializer, responses=ExportSerializer, tags=TAGS, operation_id="cancel_export"
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        _check_body(request)
        get_object_or_404(_exports(request), pk=export_id)
        return Response(ExportSerializer(_exports(request).cancel(export_id)).data)


class RetryExportView(APIView):
    """Put a failed or cancelled export into the queue again."""

    permission_classes = [MayUseFeatures]

    @extend_schema(
        request=NothingMoreSerializer,
        responses={202: ExportSerializer},
        tags=TAGS,
        operation_id="retry_export",
    )
    def post(self, request: Request, export_id: UUID) -> Response:
        _check_body(request)
        get_object_or_404(_exports(request), pk=export_id)
        export = _exports(request).retry(export_id)
        return Response(ExportSerializer(export).data, status=status.HTTP_202_ACCEPTED)
