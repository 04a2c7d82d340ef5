"""POST /ai/forecast, GET /ai/forecast/{id}, GET /ai/forecasts."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from forecasting.actions import make_forecast
from forecasting.models import Forecast
from forecasting.serializers import (
    ForecastFilterSerializer,
    ForecastRequestSerializer,
    ForecastSerializer,
    ForecastSummarySerializer,
)
from omarino.authentication import principal
from omarino.permissions import MayForecast, MayRead

TAGS = ["forecasting"]


class MakeForecastView(APIView):
    """Forecast a load, a generation or a price, with measured uncertainty."""

    permission_classes = [MayForecast]
    max_body_bytes = 33_554_432

    @extend_schema(
        request=ForecastRequestSerializer,
        responses={200: ForecastSerializer},
        tags=TAGS,
        operation_id="make_forecast",
    )
    def post(self, request: Request) -> Response:
        asked = ForecastRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        include_quantiles = asked.validated_data.pop("include_quantiles")
        forecast = make_forecast(**asked.validated_data, ignored_fields=asked.unknown_fields())
        return Response(ForecastSerializer(forecast, context={"include_quantiles": include_quantiles}).data)


@extend_schema_view(get=extend_schema(tags=TAGS, operation_id="get_forecast"))
class ForecastView(RetrieveAPIView[Forecast]):
    """One forecast, as it was answered."""

    permission_classes = [MayRead]
    serializer_class = ForecastSerializer

    def get_queryset(self) -> QuerySet[Forecast]:
        return Forecast.objects.for_tenant(principal(self.request).tenant_id)


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_forecasts", parameters=[ForecastFilterSerializer])
)
class ForecastListView(ListAPIView[Forecast]):
    """Forecasts without their steps, newest first."""

    permission_classes = [MayRead]
    serializer_class = ForecastSummarySerializer
    list_name = "forecasts"

    def get_queryset(self) -> QuerySet[Forecast]:
        if getattr(self, "swagger_fake_view", False):
            return Forecast.objects.none()
        asked = ForecastFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        rows = Forecast.objects.for_tenant(principal(self.request).tenant_id).filter(**asked.validated_data)
        return rows.without_steps()
