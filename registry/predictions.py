"""POST /ai/models/{id}/predict and /batch-predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.api import BrowsableRenderer, JSONRenderer, StrictJSONParser, read_body
from omarino.authentication import principal
from omarino.permissions import MayPredict
from registry import serving, tables
from registry.models import ModelVersion, Reference
from registry.prediction_serializers import (
    MAX_ROWS,
    BatchPredictedSerializer,
    BatchRequestSerializer,
    OptionsSerializer,
    PredictedSerializer,
    PredictRequestSerializer,
    as_batch,
    as_columns,
    as_single,
)
from registry.resolving import answering
from registry.traffic import Routed, route

TAGS = ["models"]


@dataclass(frozen=True, slots=True)
class TableBody:
    content: bytes
    media_type: str


class ArrowParser(BaseParser):
    media_type = tables.ARROW

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        view: Any = (parser_context or {})["view"]
        return TableBody(read_body(stream, view.max_body_bytes), self.media_type)


class ParquetParser(ArrowParser):
    media_type = tables.PARQUET


class ArrowRenderer(BaseRenderer):
    """The view writes the table; this says that one may ask for it."""

    media_type = tables.ARROW
    format = "arrow"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """What is no table, such as the answer to OPTIONS, as JSON."""
        return JSONRenderer().render(data, accepted_media_type, renderer_context)


class ParquetRenderer(ArrowRenderer):
    media_type = tables.PARQUET
    format = "parquet"


class PredictView(APIView):
    """The prediction of one row by a version, by `production` or by `latest`."""

    permission_classes = [MayPredict]
    throttle_scope = "light"

    @extend_schema(
        request=PredictRequestSerializer, responses=PredictedSerializer, tags=TAGS, operation_id="predict"
    )
    def post(self, request: Request, model_id: str) -> Response:
        asked = PredictRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        routed = _routed(request, model_id, said.get("options", {}))
        confidence, importance = _options(said.get("options", {}))
        rows = serving.rows_of(routed.version, [said["input"]])
        answer = routed.predict(rows, with_importance=importance, with_quantiles=confidence)
        single = as_single(answer, with_confidence=confidence)
        return Response({"model_id": str(routed.version), **single, **routed.facts(answer, rows)})


class BatchPredictView(APIView):
    """The predictions of many rows, given as objects, by column, or as a table.

    A table is an Arrow stream (not compressed inside) or a Parquet file with one column of numbers for each
    feature; null and NaN are missing values. Its options stand in the query. `Accept` chooses the answer.
    """

    permission_classes = [MayPredict]
    parser_classes = [StrictJSONParser, ArrowParser, ParquetParser]
    renderer_classes = [JSONRenderer, BrowsableRenderer, ArrowRenderer, ParquetRenderer]
    max_body_bytes = 67_108_864

    @extend_schema(
        parameters=[OptionsSerializer],
        request={
            "application/json": BatchRequestSerializer,
            tables.ARROW: OpenApiTypes.BINARY,
            tables.PARQUET: OpenApiTypes.BINARY,
        },
        responses={
            (200, "application/json"): BatchPredictedSerializer,
            (200, tables.ARROW): OpenApiTypes.BINARY,
            (200, tables.PARQUET): OpenApiTypes.BINARY,
        },
        tags=TAGS,
        operation_id="batch_predict",
    )
    def post(self, request: Request, model_id: str) -> Response | HttpResponse:
        body = request.data
        said = self._table(request, body) if isinstance(body, TableBody) else self._json(request, body)
        routed = _routed(request, model_id, said.get("options", {}))
        version = routed.version
        confidence, importance = _options(said.get("options", {}))
        rows = _rows(version, said)
        answer = routed.predict(rows, with_importance=importance, with_quantiles=confidence)
        facts = routed.facts(answer, rows)
        kind = request.accepted_renderer.media_type
        if kind in (tables.ARROW, tables.PARQUET):
            columns = as_columns(answer, with_confidence=confidence)
            return HttpResponse(
                tables.write_table(columns, kind, {"model_id": str(version)}), content_type=kind
            )
        batch = as_batch(answer, with_confidence=confidence)
        return Response({"model_id": str(version), **batch, "count": len(rows), **facts})

    def _json(self, request: Request, body: Any) -> dict[str, Any]:
        asked = BatchRequestSerializer(data=body, context={"request": request})
        asked.is_valid(raise_exception=True)
        return {"options": _of_query(request), **asked.validated_data}

    def _table(self, request: Request, body: TableBody) -> dict[str, Any]:
        options, content = _of_query(request), body.content
        if body.media_type == tables.PARQUET:
            content = tables.unpacked(content, max_rows=MAX_ROWS, max_bytes=self.max_body_bytes)
        return {"options": options, "arrays": tables.columns_of_stream(content, MAX_ROWS)}


def _routed(request: Request, model_id: str, options: dict[str, Any]) -> Routed:
    """The version that was named; `production` goes through the model's split, when there is one."""
    who, reference = principal(request), Reference.parse(model_id)
    version = answering(tenant_id=who.tenant_id, reference=reference)
    if reference is None or reference.version != "production":
        return Routed(version)
    return route(version, key=options.get("routing_key") or who.subject)


def _of_query(request: Request) -> dict[str, Any]:
    asked = OptionsSerializer(data=request.query_params.dict())
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


def _rows(version: ModelVersion, said: dict[str, Any]) -> Any:
    if "arrays" in said:
        return serving.rows_of_arrays(version, said["arrays"])
    if "columns" in said:
        return serving.rows_of_columns(version, said["columns"])
    return serving.rows_of(version, said["inputs"])


def _options(said: dict[str, Any]) -> tuple[bool, bool]:
    return said.get("includeConfidence", False), said.get("includeFeatureImportance", False)
