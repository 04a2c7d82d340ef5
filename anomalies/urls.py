"""Addresses of detections, under /ai/."""

from django.urls import path

from anomalies.views import DetectionListView, DetectionView, DetectView, FeedbackView

urlpatterns = [
    path("anomaly", DetectView.as_view(), name="detect-anomalies"),
    path("anomaly/<uuid:pk>", DetectionView.as_view(), name="detection"),
    path("anomaly/<uuid:pk>/feedback", FeedbackView.as_view(), name="anomaly-feedback"),
    path("anomalies", DetectionListView.as_view(), name="detections"),
]
