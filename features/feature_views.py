"""POST /ai/features/get and /ai/features/get-batch."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from features import online
from features.serializers import (
    FeaturesBatchSerializer,
    FeaturesSerializer,
    GetFeaturesBatchRequestSerializer,
    GetFeaturesRequestSerializer,
)
from omarino.authentication import principal
from omarino.permissions import MayUseFeatures

TAGS = ["features"]


class GetFeaturesView(APIView):
    """Features of one asset as of a moment: exactly those of the set, or those named."""

    permission_classes = [MayUseFeatures]
    throttle_scope = "light"

    @extend_schema(
        request=GetFeaturesRequestSerializer,
        responses={200: FeaturesSerializer},
        tags=TAGS,
        operation_id="get_features",
    )
    def post(self, request: Request) -> Response:
        asked = GetFeaturesRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        tenant_id = principal(request).tenant_id
        question = asked.question(tenant_id)
        answer = online.get(tenant_id=tenant_id, asset_id=asked.validated_data["asset_id"], question=question)
        return Response({**_about(tenant_id, question), **_shown(answer)})


class GetFeaturesBatchView(APIView):
    """Features of up to 1,000 assets as of one moment."""

    permission_classes = [MayUseFeatures]

    @extend_schema(
        request=GetFeaturesBatchRequestSerializer,
        responses={200: FeaturesBatchSerializer},
        tags=TAGS,
        operation_id="get_features_batch",
    )
    def post(self, request: Request) -> Response:
        asked = GetFeaturesBatchRequestSerializer(data=request.data, context={"request": request})
        asked.is_valid(raise_exception=True)
        tenant_id = principal(request).tenant_id
        question = asked.question(tenant_id)
        wanted = asked.validated_data["asset_ids"]
        answers = online.get_batch(tenant_id=tenant_id, asset_ids=wanted, question=question)
        found = {answer.asset_id for answer in answers}
        return Response(
            {
                **_about(tenant_id, question),
                "assets": [_shown(answer) for answer in answers],
                "unknown_assets": [name for name in dict.fromkeys(wanted) if name not in found],
            }
        )


def _about(tenant_id: str, question: online.Question) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "timestamp": question.as_of,
        "feature_set": question.choice.feature_set,
    }


def _shown(answer: online.Answer) -> dict[str, Any]:
    return {
        "asset_id": answer.asset_id,
        "features": answer.features,
        "feature_count": len(answer.features),
        "computed_at": answer.computed_at,
        "cache_hit": answer.cache_hit,
    }
