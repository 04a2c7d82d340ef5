"""Addresses of detections and watches, under /ai/."""

from django.urls import path

from anomalies.views import DetectionListView, DetectionView, DetectView, FeedbackView
from anomalies.watch_views import AlertListView, TryWebhookView, WatchListView, WatchView

urlpatterns = [
    path("anomaly", DetectView.as_view(), name="detect-anomalies"),
    path("anomaly/<uuid:pk>", DetectionView.as_view(), name="detection"),
    path("anomaly/<uuid:pk>/feedback", FeedbackView.as_view(), name="anomaly-feedback"),
    path("anomaly/watches", WatchListView.as_view(), name="watches"),
    path("anomaly/watches/<uuid:pk>", WatchView.as_view(), name="watch"),
    path("anomaly/watches/<uuid:pk>/test", TryWebhookView.as_view(), name="try-webhook"),
    path("anomaly/alerts", AlertListView.as_view(), name="alerts"),
    path("anomalies", DetectionListView.as_view(), name="detections"),
]
