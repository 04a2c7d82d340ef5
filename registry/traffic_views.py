"""/ai/models/{tenant:name}/traffic and /outcomes."""

from __future__ import annotations

import math
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.api import TenantField
from omarino.authentication import principal
from omarino.number_fields import NumberField
from omarino.permissions import MayManageModels, MayPredict, MayRead, PermissionsByVerb
from registry import traffic
from registry.actions import model_of
from registry.models import Reference, RegisteredModel, validate_version
from registry.traffic_models import Mode

TAGS = ["models"]
MAX_OUTCOMES = 1000


class TrafficRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    mode = serializers.ChoiceField(choices=Mode.choices)
    challenger = serializers.CharField(
        max_length=50, validators=[validate_version], help_text="A version beside the one in production."
    )
    share = NumberField(
        min_value=0.0001,
        max_value=1,
        default=0.1,
        help_text="Of the callers it answers, or of the requests a shadow is asked as well.",
    )


class TrafficSerializer(serializers.Serializer[Any]):
    split_id = serializers.UUIDField()
    model = serializers.CharField()
    mode = serializers.ChoiceField(choices=Mode.choices)
    share = serializers.FloatField()
    is_active = serializers.BooleanField()
    started_at = serializers.DateTimeField()
    started_by = serializers.CharField()
    ended_at = serializers.DateTimeField(allow_null=True)
    end_reason = serializers.CharField(allow_blank=True)
    variants = serializers.DictField(help_text="Of production and challenger: counts, latency, mean error.")
    comparison = serializers.DictField(help_text="The difference of the mean errors with its interval.")


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]})
class ActualField(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str) and len(data) <= 256:
            return data
        if isinstance(data, bool | int | float) and math.isfinite(data) and abs(data) <= 1e15:
            return data
        raise serializers.ValidationError("A number, or the class it was.")


class OutcomeSerializer(serializers.Serializer[Any]):
    prediction_id = serializers.CharField(max_length=1024, help_text="As the prediction gave it.")
    actual = ActualField()


class OutcomesRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    outcomes = serializers.ListField(child=OutcomeSerializer(), min_length=1, max_length=MAX_OUTCOMES)


class OutcomesSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="Those not told before.")


class TrafficView(PermissionsByVerb, APIView):
    """Two versions in one traffic: `{tenant}:{model}`. Predictions by `production` go through it.

    A `split` has the challenger answer a share of the callers, each always by the same version (by
    options.routing_key, else by the token's subject). A `shadow` is asked beside production and answers nobody.
    A version that is promoted, archived or deleted ends the split it is in.
    """

    permission_classes = [MayRead]
    verb_permissions = {"put": [MayManageModels], "delete": [MayManageModels]}

    @extend_schema(responses=TrafficSerializer, tags=TAGS, operation_id="get_traffic")
    def get(self, request: Request, model_id: str) -> Response:
        return Response(traffic.report(_model(request, model_id)))

    @extend_schema(
        request=TrafficRequestSerializer, responses=TrafficSerializer, tags=TAGS, operation_id="set_traffic"
    )
    def put(self, request: Request, model_id: str) -> Response:
        asked = TrafficRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        said = {name: value for name, value in asked.validated_data.items() if name != "tenant_id"}
        model = _model(request, model_id)
        traffic.start(model=model, by=principal(request), **said)
        return Response(traffic.report(model))

    @extend_schema(responses={200: TrafficSerializer}, tags=TAGS, operation_id="end_traffic")
    def delete(self, request: Request, model_id: str) -> Response:
        model = _model(request, model_id)
        traffic.stop(model=model, by=principal(request))
        return Response(traffic.report(model))


class OutcomesView(APIView):
    """What became of single predictions made in a split, by their `prediction_id`."""

    permission_classes = [MayPredict]

    @extend_schema(
        request=OutcomesRequestSerializer,
        responses=OutcomesSerializer,
        tags=TAGS,
        operation_id="tell_outcomes",
    )
    def post(self, request: Request, model_id: str) -> Response:
        asked = OutcomesRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        told = [(each["prediction_id"], each["actual"]) for each in asked.validated_data["outcomes"]]
        model = _model(request, model_id)
        accepted = traffic.tell(tenant_id=model.tenant_id, model=model, outcomes=told)
        return Response({"accepted": accepted})


def _model(request: Request, model_id: str) -> RegisteredModel:
    """Of `{tenant}:{model}`; an id that names a version as well is taken for its model."""
    said = Reference.parse(model_id)
    reference = said and Reference(said.tenant_id, said.name, "")
    return model_of(tenant_id=principal(request).tenant_id, reference=reference)
