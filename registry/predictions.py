"""POST /ai/models/{id}/predict and /batch-predict."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.authentication import principal
from omarino.permissions import MayPredict
from registry import serving
from registry.actions import version_of
from registry.models import Reference
from registry.serializers import (
    BatchPredictedSerializer,
    BatchRequestSerializer,
    PredictedSerializer,
    PredictRequestSerializer,
    as_batch,
    as_single,
)

TAGS = ["models"]


class PredictView(APIView):
    """The prediction of one row by a version, by `production` or by `latest`."""

    permission_classes = [MayPredict]

    @extend_schema(
        request=PredictRequestSerializer, responses=PredictedSerializer, tags=TAGS, operation_id="predict"
    )
    def post(self, request: Request, model_id: str) -> Response:
        asked = PredictRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        version = version_of(tenant_id=principal(request).tenant_id, reference=Reference.parse(model_id))
        confidence, importance = _options(said)
        rows = serving.rows_of(version, [said["input"]])
        answer = serving.predict(version, rows, with_importance=importance)
        return Response({"model_id": str(version), **as_single(answer, with_confidence=confidence)})


class BatchPredictView(APIView):
    """The predictions of many rows, given as objects or by column."""

    permission_classes = [MayPredict]
    max_body_bytes = 67_108_864

    @extend_schema(
        request=BatchRequestSerializer,
        responses=BatchPredictedSerializer,
        tags=TAGS,
        operation_id="batch_predict",
    )
    def post(self, request: Request, model_id: str) -> Response:
        asked = BatchRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        version = version_of(tenant_id=principal(request).tenant_id, reference=Reference.parse(model_id))
        confidence, importance = _options(said)
        if "columns" in said:
            rows = serving.rows_of_columns(version, said["columns"])
        else:
            rows = serving.rows_of(version, said["inputs"])
        answer = serving.predict(version, rows, with_importance=importance)
        batch = as_batch(answer, with_confidence=confidence)
        return Response({"model_id": str(version), **batch, "count": len(rows)})


def _options(said: dict[str, Any]) -> tuple[bool, bool]:
    options = said.get("options", {})
    return options.get("includeConfidence", False), options.get("includeFeatureImportance", False)
