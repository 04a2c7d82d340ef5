"""Addresses of MLflow's REST API, under /ai/mlflow/."""

from django.urls import path

from registry.mlflow import artifact_views as files
from registry.mlflow import registry_views as models
from registry.mlflow import tracking_views as tracking

API = "api/2.0/mlflow/"
FILES = "api/2.0/mlflow-artifacts/artifacts"

urlpatterns = [
    path(f"{API}registered-models/create", models.CreateModelView.as_view(), name="mlflow-create-model"),
    path(f"{API}registered-models/get", models.ModelView.as_view(), name="mlflow-model"),
    path(f"{API}registered-models/search", models.SearchModelsView.as_view(), name="mlflow-models"),
    path(
        f"{API}registered-models/get-latest-versions",
        models.LatestVersionsView.as_view(),
        name="mlflow-latest",
    ),
    path(f"{API}registered-models/alias", models.AliasView.as_view(), name="mlflow-alias"),
    path(f"{API}model-versions/create", models.CreateVersionView.as_view(), name="mlflow-create-version"),
    path(f"{API}model-versions/get", models.VersionView.as_view(), name="mlflow-version"),
    path(f"{API}model-versions/delete", models.DeleteVersionView.as_view(), name="mlflow-delete-version"),
    path(f"{API}model-versions/search", models.SearchVersionsView.as_view(), name="mlflow-versions"),
    path(f"{API}model-versions/transition-stage", models.TransitionView.as_view(), name="mlflow-transition"),
    path(
        f"{API}model-versions/get-download-uri", models.DownloadUriView.as_view(), name="mlflow-download-uri"
    ),
    path(f"{API}experiments/get", tracking.ExperimentView.as_view(), name="mlflow-experiment"),
    path(
        f"{API}experiments/get-by-name",
        tracking.ExperimentByNameView.as_view(),
        name="mlflow-experiment-by-name",
    ),
    path(f"{API}runs/create", tracking.CreateRunView.as_view(), name="mlflow-create-run"),
    path(f"{API}runs/get", tracking.RunView.as_view(), name="mlflow-run"),
    path(f"{API}runs/update", tracking.UpdateRunView.as_view(), name="mlflow-update-run"),
    path(f"{API}runs/log-metric", tracking.LogMetricView.as_view(), name="mlflow-log-metric"),
    path(f"{API}metrics/get-history", tracking.MetricHistoryView.as_view(), name="mlflow-metric-history"),
    path(f"{API}runs/log-parameter", tracking.LogParamView.as_view(), name="mlflow-log-parameter"),
    path(f"{API}runs/log-batch", tracking.LogBatchView.as_view(), name="mlflow-log-batch"),
    path(f"{API}runs/set-tag", tracking.SetTagView.as_view(), name="mlflow-set-tag"),
    path(f"{API}runs/outputs", tracking.OutputsView.as_view(), name="mlflow-outputs"),
    path(f"{API}logged-models", tracking.LoggedModelsView.as_view(), name="mlflow-logged-models"),
    path(
        f"{API}logged-models/search",
        tracking.SearchLoggedModelsView.as_view(),
        name="mlflow-search-logged-models",
    ),
    path(f"{API}logged-models/<str:key>", tracking.LoggedModelView.as_view(), name="mlflow-logged-model"),
    path(
        f"{API}logged-models/<str:key>/tags",
        tracking.LoggedModelTagsView.as_view(),
        name="mlflow-logged-model-tags",
    ),
    path(FILES, files.ArtifactListView.as_view(), name="mlflow-artifacts"),
    path(f"{FILES}/<path:path>", files.ArtifactView.as_view(), name="mlflow-artifact"),
]
