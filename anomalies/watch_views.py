"""/ai/anomaly/watches and /ai/anomaly/alerts."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anomalies.models import Alert, Watch
from anomalies.watch_actions import change_watch, remove_watch, set_up_watch, try_webhook
from anomalies.watch_serializers import (
    AlertFilterSerializer,
    AlertSerializer,
    ChangeWatchSerializer,
    NewWatchSerializer,
    SetUpWatchSerializer,
    TriedSerializer,
    WatchFilterSerializer,
    WatchSerializer,
)
from omarino.api import NothingMoreSerializer
from omarino.authentication import principal
from omarino.permissions import MayDetectAnomalies, MayRead, PermissionsByVerb

TAGS = ["anomalies"]


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_watches", parameters=[WatchFilterSerializer])
)
class WatchListView(PermissionsByVerb, ListAPIView[Watch]):
    """Assets that are watched, newest first."""

    permission_classes = [MayRead]
    verb_permissions = {"post": [MayDetectAnomalies]}
    serializer_class = WatchSerializer
    list_name = "watches"
    throttle_scope = "light"

    def get_queryset(self) -> QuerySet[Watch]:
        if getattr(self, "swagger_fake_view", False):
            return Watch.objects.none()
        asked = WatchFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Watch.objects.for_tenant(principal(self.request).tenant_id).filter(**asked.validated_data)

    @extend_schema(
        request=SetUpWatchSerializer,
        responses={201: NewWatchSerializer},
        tags=TAGS,
        operation_id="set_up_watch",
    )
    def post(self, request: Request) -> Response:
        """Watch an asset: judge its new readings again and again, and tell a webhook once of each event.

        An event that passes into a worse severity than was told is told once more, as the same `alert_id` with
        `worsened_from` and a `webhook-id` of its own.
        """
        asked = SetUpWatchSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        watch = set_up_watch(**asked.validated_data, created_by=principal(request).subject)
        return Response(NewWatchSerializer(watch).data, status=201)


@extend_schema_view(get=extend_schema(tags=TAGS, operation_id="get_watch"))
class WatchView(PermissionsByVerb, RetrieveAPIView[Watch]):
    """One watch."""

    permission_classes = [MayRead]
    verb_permissions = {"patch": [MayDetectAnomalies], "delete": [MayDetectAnomalies]}
    serializer_class = WatchSerializer
    throttle_scope = "light"

    def get_queryset(self) -> QuerySet[Watch]:
        return Watch.objects.for_tenant(principal(self.request).tenant_id)

    @extend_schema(
        request=ChangeWatchSerializer,
        responses={200: WatchSerializer},
        tags=TAGS,
        operation_id="change_watch",
    )
    def patch(self, request: Request, pk: UUID) -> Response:
        """Change what is named, pause it (`is_active`), and look again at once."""
        asked = ChangeWatchSerializer(data=request.data, partial=True, context={"request": request})
        asked.is_valid(raise_exception=True)
        changes = {**asked.validated_data, "tenant_id": principal(request).tenant_id}
        return Response(WatchSerializer(change_watch(watch_id=pk, **changes)).data)

    @extend_schema(responses={204: None}, tags=TAGS, operation_id="remove_watch")
    def delete(self, request: Request, pk: UUID) -> Response:
        """Remove the watch and its alerts."""
        remove_watch(tenant_id=principal(request).tenant_id, watch_id=pk)
        return Response(status=204)


class TryWebhookView(APIView):
    """Send a test to the webhook of a watch, and say what it answered."""

    permission_classes = [MayDetectAnomalies]

    @extend_schema(
        request=NothingMoreSerializer, responses={200: TriedSerializer}, tags=TAGS, operation_id="try_webhook"
    )
    def post(self, request: Request, pk: UUID) -> Response:
        asked = NothingMoreSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        answer = try_webhook(tenant_id=principal(request).tenant_id, watch_id=pk)
        return Response({"was_taken": answer.was_taken, "status": answer.status, "told": answer.told})


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_alerts", parameters=[AlertFilterSerializer])
)
class AlertListView(ListAPIView[Alert]):
    """What the watches found, newest first."""

    permission_classes = [MayRead]
    serializer_class = AlertSerializer
    list_name = "alerts"

    def get_queryset(self) -> QuerySet[Alert]:
        if getattr(self, "swagger_fake_view", False):
            return Alert.objects.none()
        asked = AlertFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        alerts = Alert.objects.for_tenant(principal(self.request).tenant_id).select_related("watch")
        return alerts.filter(**asked.validated_data)
