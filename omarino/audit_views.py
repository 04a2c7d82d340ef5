"""GET /ai/audit and /ai/audit/{id}: who did, or was refused, what in one's own tenant."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.views import APIView

from omarino.audit_models import AuditRecord, Outcome
from omarino.authentication import principal
from omarino.permissions import MayReadAudit

TAGS = ["audit"]


class AuditRecordSerializer(serializers.ModelSerializer[AuditRecord]):
    """A record with its place in the tenant's chain."""

    number: Any = serializers.IntegerField(
        source="link.number", read_only=True, default=None, help_text="1, 2, 3 ... within the tenant."
    )
    digest: Any = serializers.CharField(
        source="link.digest", read_only=True, default=None, help_text="Of this link of the chain."
    )

    class Meta:
        model = AuditRecord
        fields = [
            *("id", "number", "at", "outcome", "verb", "kind", "object_id", "subject", "username"),
            *("before", "after", "facts", "request_id", "digest"),
        ]


class AuditFilterSerializer(serializers.Serializer[Any]):
    tenant_id = serializers.CharField(required=False, help_text="The tenant of your token.")
    outcome = serializers.ChoiceField(choices=Outcome.choices, required=False)
    verb = serializers.CharField(required=False, max_length=32)
    kind = serializers.CharField(required=False, max_length=64)
    object_id = serializers.CharField(required=False, max_length=255)
    subject = serializers.CharField(required=False, max_length=255)
    request_id = serializers.CharField(required=False, max_length=128)
    since = serializers.DateTimeField(required=False, help_text="The first moment.")
    until = serializers.DateTimeField(required=False, help_text="The first moment that is left out.")


def _records(view: APIView) -> QuerySet[AuditRecord]:
    return AuditRecord.objects.for_tenant(principal(view.request).tenant_id).select_related("link")


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_audit", parameters=[AuditFilterSerializer])
)
class AuditListView(ListAPIView[AuditRecord]):
    """Changes and refusals, newest first."""

    permission_classes = [MayReadAudit]
    throttle_scope = "light"
    serializer_class = AuditRecordSerializer
    list_name = "records"

    def get_queryset(self) -> QuerySet[AuditRecord]:
        if getattr(self, "swagger_fake_view", False):
            return AuditRecord.objects.none()
        asked = AuditFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        names = {"since": "at__gte", "until": "at__lt"}
        said = {names.get(name, name): value for name, value in asked.validated_data.items()}
        return _records(self).filter(**said)


@extend_schema_view(get=extend_schema(tags=TAGS, operation_id="get_audit_record"))
class AuditRecordView(RetrieveAPIView[AuditRecord]):
    """One record."""

    permission_classes = [MayReadAudit]
    throttle_scope = "light"
    serializer_class = AuditRecordSerializer

    def get_queryset(self) -> QuerySet[AuditRecord]:
        return _records(self)
