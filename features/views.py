"""POST /ai/features/readings and /ai/features/weather; the assets they belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView, get_object_or_404
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from features.actions import Kind, TableImport, edit_asset, import_table
from features.batches import Outcome, Rejections
from features.columns import Wanted
from features.errors import NothingTaken
from features.ingest import store_readings, store_weather
from features.items import reading_items, weather_items
from features.models import Asset
from features.parse import Notation
from features.readings_file import open_table
from features.serializers import (
    MAX_READINGS,
    AssetFilterSerializer,
    AssetSerializer,
    OutcomeSerializer,
    ReadingsRequestSerializer,
    TableQuerySerializer,
    WeatherRequestSerializer,
)
from features.timestamps import Clock
from omarino.api import StrictJSONParser, read_body
from omarino.authentication import principal
from omarino.errors import MalformedBody
from omarino.permissions import MayRead, MayUseFeatures

TAGS = ["readings"]
MAX_BODY_BYTES = 33_554_432
MAX_UNPACKED_BYTES = 8 * MAX_BODY_BYTES


class CsvParser(BaseParser):
    """The body as it is; what is in it is read in blocks later."""

    media_type = "text/csv"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return read_body(stream, MAX_BODY_BYTES)


class ParquetParser(CsvParser):
    media_type = "application/vnd.apache.parquet"


class _StoreView(APIView):
    """A body of JSON, CSV or Parquet into one of the two tables."""

    permission_classes = [MayUseFeatures]
    parser_classes = [StrictJSONParser, CsvParser, ParquetParser]
    max_body_bytes = MAX_BODY_BYTES
    kind: ClassVar[Kind]
    request_serializer: ClassVar[type[serializers.Serializer[Any]]]
    read_items: ClassVar[Callable[[list[Any], Rejections], Iterable[Any]]]
    store: ClassVar[Callable[..., Outcome]]

    def post(self, request: Request) -> Response:
        if request.META.get("CONTENT_LENGTH") in (None, "", "0"):
            raise MalformedBody(reason="it is empty; send JSON, CSV or Parquet")
        body = request.data
        outcome = self._store_table(request, body) if isinstance(body, bytes) else self._store_items(request)
        answer = OutcomeSerializer(outcome).data
        if outcome.taken == 0:
            raise NothingTaken(rejected=answer["rejected"], rejected_total=outcome.rejected)
        return Response(answer)

    def _store_items(self, request: Request) -> Outcome:
        asked = self.request_serializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        rejections = Rejections()
        said = asked.validated_data
        return type(self).store(
            tenant_id=principal(request).tenant_id,
            asset_id=said["asset_id"],
            batches=type(self).read_items(said["readings"], rejections),
            rejections=rejections,
            about_asset={"unit": said.get("unit")},
        )

    def _store_table(self, request: Request, body: bytes) -> Outcome:
        asked = TableQuerySerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        metrics = (said["metric"],) if "metric" in said else ()
        job = TableImport(
            open_table(body, name="The body", unpacked_at_most=MAX_UNPACKED_BYTES),
            kind=self.kind,
            wanted=Wanted(metrics=metrics, wide=said["wide"]),
            notation=Notation(Clock(said["timezone"])),
            about_asset={"unit": said.get("unit")},
            at_most=MAX_READINGS,
        )
        return import_table(tenant_id=principal(request).tenant_id, asset_id=said["asset_id"], job=job)


def _documented(operation_id: str, json: type[serializers.Serializer[Any]]) -> Callable[[Any], Any]:
    post = extend_schema(
        request={
            "application/json": json,
            "text/csv": OpenApiTypes.STR,
            "application/vnd.apache.parquet": OpenApiTypes.BINARY,
        },
        parameters=[TableQuerySerializer],
        responses={200: OutcomeSerializer},
        tags=TAGS,
        operation_id=operation_id,
    )
    return extend_schema_view(post=post)


@_documented("store_readings", ReadingsRequestSerializer)
class ReadingsView(_StoreView):
    """Store readings of one asset. The same readings again change nothing. Query parameters belong to CSV
    and Parquet bodies; a JSON body says the same itself."""

    kind = "readings"
    request_serializer = ReadingsRequestSerializer
    read_items = reading_items
    store = store_readings


@_documented("store_weather", WeatherRequestSerializer)
class WeatherView(_StoreView):
    """Store the weather at one asset, measured or forecast. What a row does not say stays as it was."""

    kind = "weather"
    request_serializer = WeatherRequestSerializer
    read_items = weather_items
    store = store_weather


@extend_schema_view(
    get=extend_schema(tags=TAGS, operation_id="list_assets", parameters=[AssetFilterSerializer])
)
class AssetListView(ListAPIView[Asset]):
    """Assets, newest first. An asset is made by its first reading."""

    permission_classes = [MayRead]
    serializer_class = AssetSerializer
    list_name = "assets"

    def get_queryset(self) -> QuerySet[Asset]:
        if getattr(self, "swagger_fake_view", False):
            return Asset.objects.none()
        asked = AssetFilterSerializer(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Asset.objects.for_tenant(principal(self.request).tenant_id).filter(**asked.validated_data)


class AssetView(APIView):
    """One asset: its clock, its country, its unit, its place."""

    permission_classes = [MayUseFeatures]

    @extend_schema(responses=AssetSerializer, tags=TAGS, operation_id="get_asset")
    def get(self, request: Request, asset_id: str) -> Response:
        assets = Asset.objects.for_tenant(principal(request).tenant_id)
        return Response(AssetSerializer(get_object_or_404(assets, asset_id=asset_id)).data)

    @extend_schema(
        request=AssetSerializer(partial=True), responses=AssetSerializer, tags=TAGS, operation_id="edit_asset"
    )
    def patch(self, request: Request, asset_id: str) -> Response:
        asked = AssetSerializer(data=request.data, partial=True, context={"request": request})
        asked.is_valid(raise_exception=True)
        asset = edit_asset(tenant_id=principal(request).tenant_id, asset_id=asset_id, changes=asked.changes())
        return Response(AssetSerializer(asset).data)
