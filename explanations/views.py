"""POST /ai/explain, POST /ai/explain/global, GET /ai/explain/{id}; as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer, extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from explanations.actions import explain, explain_globally
from explanations.errors import NotAnsweredYet
from explanations.models import Explanation
from explanations.pictures import OF_SCOPE, picture
from explanations.serializers import (
    ExplainRequestSerializer,
    ExplanationSerializer,
    GlobalExplanationSerializer,
    GlobalRequestSerializer,
    PendingSerializer,
    as_answer,
)
from omarino.api import BrowsableRenderer, JSONRenderer
from omarino.authentication import principal
from omarino.jobs import JobStatus
from omarino.permissions import MayPredict, MayRead

TAGS = ["explanations"]
SVG = "image/svg+xml"
PICTURE = OpenApiParameter(
    "picture",
    str,
    enum=sorted({kind for kinds in OF_SCOPE.values() for kind in kinds}),
    description="Which picture, when an image is asked for.",
)


class SVGRenderer(BaseRenderer):
    """The picture that a view drew."""

    media_type = SVG
    format = "svg"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        return str(data)


class _ExplanationView(APIView):
    renderer_classes = [JSONRenderer, SVGRenderer, BrowsableRenderer]

    def answer(self, request: Request, explanation: Explanation, *, is_new: bool = True) -> Response:
        waits = explanation.status != JobStatus.COMPLETED
        if isinstance(request.accepted_renderer, SVGRenderer):
            if not waits:
                return Response(picture(explanation, request.query_params.get("picture", "")))
            if not is_new:
                raise NotAnsweredYet(explanation_id=explanation.pk, state=explanation.status)
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return Response(as_answer(explanation), status=202 if waits and is_new else 200)


class ExplainView(_ExplanationView):
    """Why a prediction is what it is: of a registered model for a row, of a step of a forecast, of an anomaly.

    `base_value` and all contributions add up to `prediction_value`. What takes longer answers 202 and is fetched
    under its id.
    """

    permission_classes = [MayPredict]
    max_body_bytes = 16_777_216

    @extend_schema(
        request=ExplainRequestSerializer,
        parameters=[PICTURE],
        responses={
            (200, "application/json"): ExplanationSerializer,
            (200, SVG): OpenApiTypes.STR,
            (202, "application/json"): PendingSerializer,
        },
        tags=TAGS,
        operation_id="explain",
    )
    def post(self, request: Request) -> Response:
        asked = ExplainRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        who = principal(request)
        return self.answer(request, explain(**asked.validated_data, by=who.subject))


class ExplainGloballyView(_ExplanationView):
    """What a model looks at over many rows: the mean size of each feature's contributions."""

    permission_classes = [MayPredict]
    max_body_bytes = 33_554_432

    @extend_schema(
        request=GlobalRequestSerializer,
        parameters=[PICTURE],
        responses={
            (200, "application/json"): GlobalExplanationSerializer,
            (200, SVG): OpenApiTypes.STR,
            (202, "application/json"): PendingSerializer,
        },
        tags=TAGS,
        operation_id="explain_globally",
    )
    def post(self, request: Request) -> Response:
        asked = GlobalRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        who = principal(request)
        return self.answer(request, explain_globally(**asked.validated_data, by=who.subject))


class ExplanationView(_ExplanationView):
    """An explanation, or how far it is."""

    permission_classes = [MayRead]

    @extend_schema(
        parameters=[PICTURE],
        responses={
            (200, "application/json"): OpenApiResponse(
                PolymorphicProxySerializer(
                    "AnyExplanation",
                    [ExplanationSerializer, GlobalExplanationSerializer, PendingSerializer],
                    resource_type_field_name=None,
                )
            ),
            (200, SVG): OpenApiTypes.STR,
        },
        tags=TAGS,
        operation_id="get_explanation",
    )
    def get(self, request: Request, pk: Any) -> Response:
        rows = Explanation.objects.for_tenant(principal(request).tenant_id)
        return self.answer(request, get_object_or_404(rows, pk=pk), is_new=False)
