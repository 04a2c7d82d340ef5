"""Addresses of devices with several metrics, under /ml/anomalies/."""

from django.urls import path

from anomalies.device_views import DetectOnDeviceView, ModelInfoView, TrainDeviceView, TrainingRunView

urlpatterns = [
    path("train/<str:device>", TrainDeviceView.as_view(), name="train-device"),
    path("detect/<str:device>", DetectOnDeviceView.as_view(), name="detect-on-device"),
    path("model-info/<str:device>", ModelInfoView.as_view(), name="device-model-info"),
    path("runs/<uuid:pk>", TrainingRunView.as_view(), name="training-run"),
]
