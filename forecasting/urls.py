"""Addresses of forecasts, under /ai/."""

from django.urls import path

from forecasting.quality_views import DriftFlagsView, ForecastQualityView
from forecasting.views import ForecastListView, ForecastView, MakeForecastView

urlpatterns = [
    path("forecast", MakeForecastView.as_view(), name="make-forecast"),
    path("forecast/<uuid:pk>", ForecastView.as_view(), name="forecast"),
    path("forecasts/quality", ForecastQualityView.as_view(), name="forecast-quality"),
    path("forecasts/drift", DriftFlagsView.as_view(), name="drift-flags"),
    path("forecasts", ForecastListView.as_view(), name="forecasts"),
]
