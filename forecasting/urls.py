"""Addresses of forecasts, under /ai/."""

from django.urls import path

from forecasting.views import ForecastListView, ForecastView, MakeForecastView

urlpatterns = [
    path("forecast", MakeForecastView.as_view(), name="make-forecast"),
    path("forecast/<uuid:pk>", ForecastView.as_view(), name="forecast"),
    path("forecasts", ForecastListView.as_view(), name="forecasts"),
]
