"""POST /ai/anomaly, GET /ai/anomaly/{id}, POST /ai/anomaly/{id}/feedback, GET /ai/anomalies."""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies.actions import detect, give_feedback
from anomalies.models import Detection
from anomalies.serializers import (
    DetectionFilterSerializer,
    DetectionListSerializer,
    DetectionRequestSerializer,
    DetectionSerializer,
    FeedbackRequestSerializer,
    FeedbackSerializer,
)
from omarino.authentication import principal
from omarino.permissions import MayDetectAnomalies, MayRead

TAGS = ["anomalies"]


class DetectView(APIView):
    """Find what is unusual in a series, held against what was expected at each time."""

    permission_classes = [MayDetectAnomalies]
    max_body_bytes = 33_554_432

    @extend_schema(
        request=DetectionRequestSerializer,
        responses={200: DetectionSerializer},
        tags=TAGS,
        operation_id="detect_anomalies",
    )
    def post(self, request: Request) -> Response:
        asked = DetectionRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        detection, points = detect(
            **asked.validated_data,
            ignored_fields=asked.unknown_fields(),
            unheeded_fields=asked.unheeded_fields(),
        )
        return Response(DetectionSerializer(detection, context={"points": points}).data)


@extend_schema_view(get=extend_schema(tags=TAGS, operation_id="get_detection"))
class DetectionView(RetrieveAPIView[Detection]):
    """One detection with the points it flagged."""

    permission_classes = [MayRead]
    serializer_class = DetectionSerializer

    def get_queryset(self) -> QuerySet[Detection]:
        return Detection.objects.for_tenant(principal(self.request).tenant_id)


class FeedbackView(APIView):
    """Say whether a flagged point was real; the verdicts suggest a sensitivity."""

    permission_classes = [MayDetectAnomalies]
    throttle_scope = "light"

    @extend_schema(
        request=FeedbackRequestSerializer,
        responses={200: FeedbackSerializer},
        tags=TAGS,
        operation_id="give_anomaly_feedback",
    )
    def post(self, request: Request, pk: UUID) -> Response:
        asked = FeedbackRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        who = principal(request)
        given = {**asked.validated_data, "tenant_id": who.tenant_id, "given_by": who.subject}
        verdict, suggested = give_feedback(detection_id=pk, **given)
        answer = {
            "detection_id": pk,
            "timestamp": verdict.timestamp.astimezone(UTC),
            "is_true": verdict.is_true,
            "comment": verdict.comment,
            "given_at": verdict.given_at.astimezone(UTC),
            "suggested_sensitivity": suggested,
        }
        return Response(answer)


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_detections", parameters=[DetectionFilterSerializer])
)
class DetectionListView(ListAPIView[Detection]):
    """Detections without their points, newest first."""

    permission_classes = [MayRead]
    serializer_class = DetectionListSerializer
    list_name = "detections"

    def get_queryset(self) -> QuerySet[Detection]:
        if getattr(self, "swagger_fake_view", False):
            return Detection.objects.none()
        asked = DetectionFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        rows = Detection.objects.for_tenant(principal(self.request).tenant_id).filter(**asked.validated_data)
        return rows.without_anomalies()
