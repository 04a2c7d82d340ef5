"""GET /ai/forecasts/quality and /ai/forecasts/drift: how forecasts turned out, and what asks to be trained again."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView

from forecasting.models import DriftFlag, DriftKind, ForecastScore
from forecasting.quality import LEAD_HOURS
from omarino.authentication import principal
from omarino.permissions import MayRead

TAGS = ["forecasting"]


class ForecastScoreSerializer(serializers.ModelSerializer[ForecastScore]):
    class Meta:
        model = ForecastScore
        fields = [
            *("asset_id", "model_name", "model_version", "algorithm", "lead_hours", "day", "count"),
            *("mae", "pinball", "coverage", "bias", "size", "scored_at"),
        ]


class ForecastScoreFilterSerializer(serializers.Serializer[Any]):
    asset_id = serializers.CharField(required=False, max_length=128)
    model_name = serializers.CharField(required=False, max_length=128, help_text="What was asked for.")
    model_version = serializers.CharField(required=False, max_length=50)
    algorithm = serializers.CharField(
        required=False, max_length=128, help_text="What answered: blend, linear_v1, registered..."
    )
    lead_hours = serializers.ChoiceField(
        choices=LEAD_HOURS, required=False, help_text="Leads up to here, from the one before."
    )
    from_day = serializers.DateField(required=False, source="day__gte", help_text="UTC, this day included.")
    until_day = serializers.DateField(required=False, source="day__lte", help_text="UTC, this day included.")


class DriftFlagSerializer(serializers.ModelSerializer[DriftFlag]):
    class Meta:
        model = DriftFlag
        fields = [
            *("asset_id", "kind", "model_name", "model_version", "algorithm", "feature", "value", "limit"),
            *("reference_from", "window_from", "window_until", "raised_at", "seen_at", "cleared_at"),
        ]


class DriftFlagFilterSerializer(serializers.Serializer[Any]):
    asset_id = serializers.CharField(required=False, max_length=128)
    kind = serializers.ChoiceField(choices=DriftKind.choices, required=False)
    feature = serializers.CharField(required=False, max_length=128)


@extend_schema_view(
    get=extend_schema(
        tags=TAGS, operation_id="list_forecast_scores", parameters=[ForecastScoreFilterSerializer]
    )
)
class ForecastQualityView(ListAPIView[ForecastScore]):
    """Kept forecasts against the readings that came, by asset, who answered, lead and UTC day, newest day first."""

    permission_classes = [MayRead]
    serializer_class = ForecastScoreSerializer
    list_name = "scores"

    def get_queryset(self) -> QuerySet[ForecastScore]:
        if getattr(self, "swagger_fake_view", False):
            return ForecastScore.objects.none()
        asked = ForecastScoreFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return ForecastScore.objects.for_tenant(principal(self.request).tenant_id).filter(
            **asked.validated_data
        )


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_drift_flags", parameters=[DriftFlagFilterSerializer])
)
class DriftFlagsView(ListAPIView[DriftFlag]):
    """Flags that are raised: bands that hold too much or too little, readings or features spread otherwise than
    before, by their population stability index."""

    permission_classes = [MayRead]
    serializer_class = DriftFlagSerializer
    list_name = "flags"

    def get_queryset(self) -> QuerySet[DriftFlag]:
        if getattr(self, "swagger_fake_view", False):
            return DriftFlag.objects.none()
        asked = DriftFlagFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        flags = DriftFlag.objects.for_tenant(principal(self.request).tenant_id).raised()
        return flags.filter(**asked.validated_data)
