"""Addresses of explanations, under /ai/."""

from django.urls import path

from explanations.views import ExplainGloballyView, ExplainView, ExplanationView

urlpatterns = [
    path("explain", ExplainView.as_view(), name="explain"),
    path("explain/global", ExplainGloballyView.as_view(), name="explain-globally"),
    path("explain/<uuid:pk>", ExplanationView.as_view(), name="explanation"),
]
