"""Addresses of models, under /ai/models/."""

from django.urls import path

from registry.predictions import BatchPredictView, PredictView
from registry.traffic_views import OutcomesView, TrafficView
from registry.views import (
    ApproveView,
    ArtifactView,
    GatesView,
    ProductionView,
    PromoteView,
    RegisterView,
    VersionListView,
    VersionView,
)

urlpatterns = [
    path("<str:model_id>/predict", PredictView.as_view(), name="predict"),  # first: it is asked most
    path("", VersionListView.as_view(), name="models"),
    path("register", RegisterView.as_view(), name="register-model"),
    path("<str:model_id>", VersionView.as_view(), name="model-version"),
    path("<str:model_id>/artifact", ArtifactView.as_view(), name="model-artifact"),
    path("<str:model_id>/promote", PromoteView.as_view(), name="promote-model"),
    path("<str:model_id>/approve", ApproveView.as_view(), name="approve-model"),
    path("<str:model_id>/gates", GatesView.as_view(), name="model-gates"),
    path("<str:model_id>/production", ProductionView.as_view(), name="model-production"),
    path("<str:model_id>/traffic", TrafficView.as_view(), name="model-traffic"),
    path("<str:model_id>/outcomes", OutcomesView.as_view(), name="model-outcomes"),
    path("<str:model_id>/batch-predict", BatchPredictView.as_view(), name="batch-predict"),
]
