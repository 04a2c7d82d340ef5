"""/ml/anomalies: train a detector for a device of several metrics, and detect with it."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies.device_actions import detect_on_device, train_device
from anomalies.device_detectors import detector_of
from anomalies.device_serializers import (
    DetectOnDeviceSerializer,
    FoundSerializer,
    ModelInfoSerializer,
    TrainDeviceSerializer,
    TrainingRunSerializer,
)
from omarino.api import NothingMoreSerializer
from omarino.authentication import principal
from omarino.permissions import MayDetectAnomalies, MayManageModels, MayRead
from registry.models import TrainingRun

TAGS = ["anomalies"]


class TrainDeviceView(APIView):
    """Train a detector on what a device sent; much of it by a worker (202)."""

    permission_classes = [MayManageModels]

    @extend_schema(
        parameters=[TrainDeviceSerializer],
        request=NothingMoreSerializer,
        responses={200: TrainingRunSerializer, 202: TrainingRunSerializer},
        tags=TAGS,
        operation_id="train_device",
    )
    def post(self, request: Request, device: str) -> Response:
        NothingMoreSerializer(data=request.data, context={"request": request}).is_valid(raise_exception=True)
        asked = TrainDeviceSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        who = principal(request)
        run = train_device(tenant_id=who.tenant_id, device=device, by=who.subject, **asked.validated_data)
        return Response(TrainingRunSerializer(run).data, status=200 if run.is_over else 202)


class DetectOnDeviceView(APIView):
    """What was unusual in the newest hours of a device, by its detector in production."""

    permission_classes = [MayDetectAnomalies]
    throttle_scope = "heavy"

    @extend_schema(
        parameters=[DetectOnDeviceSerializer],
        responses=FoundSerializer,
        tags=TAGS,
        operation_id="detect_on_device",
    )
    def get(self, request: Request, device: str) -> Response:
        asked = DetectOnDeviceSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        tenant_id = principal(request).tenant_id
        found = detect_on_device(tenant_id=tenant_id, device=device, hours=asked.validated_data["hours"])
        return Response(FoundSerializer(found).data)


class ModelInfoView(APIView):
    """The detector of a device that is in production."""

    permission_classes = [MayRead]

    @extend_schema(responses=ModelInfoSerializer, tags=TAGS, operation_id="device_model_info")
    def get(self, request: Request, device: str) -> Response:
        version = detector_of(principal(request).tenant_id, device)
        return Response(ModelInfoSerializer(version).data)


@extend_schema_view(get=extend_schema(tags=TAGS, operation_id="get_training_run"))
class TrainingRunView(RetrieveAPIView[TrainingRun]):
    """One training, and what came of it."""

    permission_classes = [MayRead]
    serializer_class = TrainingRunSerializer

    def get_queryset(self) -> QuerySet[TrainingRun]:
        return TrainingRun.objects.for_tenant(principal(self.request).tenant_id).select_related(
            "version__model"
        )
