"""Addresses of readings, weather and assets, under /ai/features/."""

from django.urls import path

from features.views import AssetListView, AssetView, ReadingsView, WeatherView

urlpatterns = [
    path("readings", ReadingsView.as_view(), name="store-readings"),
    path("weather", WeatherView.as_view(), name="store-weather"),
    path("assets", AssetListView.as_view(), name="assets"),
    path("assets/<str:asset_id>", AssetView.as_view(), name="asset"),
]
