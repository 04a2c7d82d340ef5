"""GET and POST /ai/features/sets, GET and DELETE /ai/features/sets/{name}."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from features import set_actions, sets
from features.catalog import FEATURE_SETS, FEATURES, HOUR, FeatureSet
from features.models import TenantFeatureSet, validate_set_name
from features.serializers import FeatureSetSerializer, FeatureSetsSerializer
from omarino.api import TenantField
from omarino.authentication import principal
from omarino.errors import NotFound
from omarino.permissions import MayDefineFeatures, MayRead, PermissionsByVerb

TAGS = ["features"]


class SetRequestSerializer(serializers.Serializer[Any]):
    tenant_id = TenantField()
    name = serializers.CharField(max_length=64, validators=[validate_set_name])
    features = serializers.ListField(
        child=serializers.CharField(max_length=64),
        min_length=1,
        max_length=100,
        help_text="Names of known features, in the order in which they are answered.",
    )
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    stored = serializers.BooleanField(
        default=False, help_text="Write a row of each asset to the table ai_features every hour."
    )


class SetVersionSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(
        required=False, min_value=1, max_value=2_147_483_647, help_text="The newest, when not given."
    )


class SetRemovedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=["deleted"])
    message = serializers.CharField()


class FeatureSetsView(PermissionsByVerb, APIView):
    """The feature sets, built in and of the tenant, and every feature that can be asked for by name."""

    permission_classes = [MayRead]
    throttle_scope = "light"
    verb_permissions = {"post": [MayDefineFeatures]}

    @extend_schema(responses=FeatureSetsSerializer, tags=TAGS, operation_id="list_feature_sets")
    def get(self, request: Request) -> Response:
        own = TenantFeatureSet.objects.for_tenant(principal(request).tenant_id).newest()
        shown = [*map(_shown, FEATURE_SETS.values()), *map(_shown_own, own)]
        features = [
            {
                "name": feature.name,
                "unit": feature.unit,
                "description": feature.description,
                "looks_back_hours": feature.looks_back / HOUR,
            }
            for feature in FEATURES.values()
        ]
        return Response(
            {
                "feature_sets": {each["name"]: each for each in shown},
                "total": len(shown),
                "features": features,
            }
        )

    @extend_schema(
        request=SetRequestSerializer,
        responses={200: FeatureSetSerializer, 201: FeatureSetSerializer},
        tags=TAGS,
        operation_id="define_feature_set",
    )
    def post(self, request: Request) -> Response:
        """Define a set of known features, or change one of the tenant's: other features make its next version."""
        asked = SetRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        who = principal(request)
        row, is_new = set_actions.define_set(
            **{**asked.validated_data, "tenant_id": who.tenant_id}, made_by=who.subject
        )
        return Response(_shown_own(row), status=201 if is_new else 200)


class FeatureSetView(PermissionsByVerb, APIView):
    """One set, by its name."""

    permission_classes = [MayRead]
    throttle_scope = "light"
    verb_permissions = {"delete": [MayDefineFeatures]}

    @extend_schema(
        parameters=[SetVersionSerializer],
        responses=FeatureSetSerializer,
        tags=TAGS,
        operation_id="get_feature_set",
    )
    def get(self, request: Request, name: str) -> Response:
        """Also an earlier version of one's own set, and of one that was removed: a model may name it."""
        asked = SetVersionSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        version = asked.validated_data.get("version")
        declared = FEATURE_SETS.get(name)
        if declared is not None and version in (None, declared.version):
            return Response(_shown(declared))
        row = sets.own_set(principal(request).tenant_id, name, version)
        if row is None:
            raise NotFound
        return Response(_shown_own(row))

    @extend_schema(responses={200: SetRemovedSerializer}, tags=TAGS, operation_id="delete_feature_set")
    def delete(self, request: Request, name: str) -> Response:
        """Remove a set of one's own; the built-in ones stay."""
        set_actions.remove_set(tenant_id=principal(request).tenant_id, name=name)
        message = "Its versions can still be read by number; rows in ai_features stay until they are too old."
        return Response({"name": name, "status": "deleted", "message": message})


def _shown(declared: FeatureSet) -> dict[str, Any]:
    kept = f"Cache for {settings.FEATURE_CACHE_TTL} s; computed from stored readings and weather"
    return {
        "name": declared.name,
        "version": declared.version,
        "description": declared.description,
        "features": declared.names,
        "use_cases": declared.use_cases,
        "latency": "Computed when asked for, and cached",
        "storage": kept,
        "built_in": True,
        "stored": False,
        "removed_at": None,
    }


def _shown_own(row: TenantFeatureSet) -> dict[str, Any]:
    own = {"built_in": False, "stored": row.stored, "removed_at": row.removed_at}
    shown = {**_shown(sets.as_set(row)), **own}
    return {**shown, "storage": f"{shown['storage']}; hourly in ai_features"} if row.stored else shown
