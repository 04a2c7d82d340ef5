"""Addresses of readings, weather, assets and features, under /ai/features/."""

from django.urls import path

from features.export_views import (
    CancelExportView,
    DownloadExportView,
    ExportListView,
    ExportView,
    RequestExportView,
    RetryExportView,
)
from features.feature_views import GetFeaturesBatchView, GetFeaturesView
from features.set_views import FeatureSetsView, FeatureSetView
from features.views import AssetListView, AssetView, ReadingsView, WeatherView

urlpatterns = [
    path("readings", ReadingsView.as_view(), name="store-readings"),
    path("weather", WeatherView.as_view(), name="store-weather"),
    path("assets", AssetListView.as_view(), name="assets"),
    path("assets/<str:asset_id>", AssetView.as_view(), name="asset"),
    path("get", GetFeaturesView.as_view(), name="get-features"),
    path("get-batch", GetFeaturesBatchView.as_view(), name="get-features-batch"),
    path("export", RequestExportView.as_view(), name="request-export"),
    path("exports", ExportListView.as_view(), name="exports"),
    path("exports/<uuid:export_id>", ExportView.as_view(), name="export"),
    path("exports/<uuid:export_id>/download", DownloadExportView.as_view(), name="download-export"),
    path("exports/<uuid:export_id>/cancel", CancelExportView.as_view(), name="cancel-export"),
    path("exports/<uuid:export_id>/retry", RetryExportView.as_view(), name="retry-export"),
    path("sets", FeatureSetsView.as_view(), name="feature-sets"),
    path("sets/<str:name>", FeatureSetView.as_view(), name="feature-set"),
]
