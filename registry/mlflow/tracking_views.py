"""/ai/mlflow/api/2.0/mlflow/runs, experiments and logged-models: as much as registering a model needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from omarino.authentication import principal
from omarino.errors import NotFound
from omarino.permissions import MayManageModels, MayRead, PermissionsByVerb
from registry.errors import MlflowUnsupported
from registry.mlflow import actions, shapes
from registry.mlflow.base import TAGS, MlflowView
from registry.mlflow.registry_views import MOST_RESULTS, by_name
from registry.mlflow.serializers import (
    AnswerSerializer,
    CreateLoggedModelSerializer,
    CreateRunSerializer,
    ExperimentSerializer,
    FinishLoggedModelSerializer,
    LogBatchSerializer,
    LogMetricSerializer,
    LogParamSerializer,
    MetricHistorySerializer,
    RunSerializer,
    SearchSerializer,
    TagsSerializer,
    UpdateRunSerializer,
)
from registry.models import Tracked

Verb = TypeVar("Verb", bound=Callable[..., Any])
RUN, MODEL = Tracked.Kind.RUN, Tracked.Kind.MODEL


def _schema(operation: str, request: Any = None, parameters: Any = None) -> Callable[[Verb], Verb]:
    said: Callable[[Verb], Verb] = extend_schema(
        request=request,
        parameters=parameters,
        responses=AnswerSerializer,
        tags=TAGS,
        operation_id=f"mlflow_{operation}",
    )
    return said


class ExperimentView(MlflowView):
    """The one experiment, by id 0 or by the name Default."""

    permission_classes = [MayRead]

    @_schema("get_experiment", parameters=[ExperimentSerializer])
    def get(self, request: Request) -> Response:
        said = self.said(request, ExperimentSerializer)
        if said.get("experiment_id", "0") != "0" or said.get("experiment_name", "Default") != "Default":
            raise NotFound()
        return Response({"experiment": shapes.experiment()})


class ExperimentByNameView(ExperimentView):
    @_schema("get_experiment_by_name", parameters=[ExperimentSerializer])
    def get(self, request: Request) -> Response:
        return super().get(request)


class CreateRunView(MlflowView):
    permission_classes = [MayManageModels]

    @_schema("create_run", CreateRunSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, CreateRunSerializer)
        if said.get("experiment_id", "0") not in ("", "0"):
            raise MlflowUnsupported(reason="There is one experiment here, Default, with the id 0")
        tags = shapes.unpaired(said.get("tags", []))
        name = said.get("run_name") or tags.get("mlflow.runName", "")
        body = {"status": "RUNNING", "start_time": said.get("start_time", 0), "tags": tags}
        run = actions.track_run(by=principal(request), name=name[:256], body=body)
        return Response({"run": shapes.of_run(run)})


class RunView(MlflowView):
    permission_classes = [MayRead]

    @_schema("get_run", parameters=[RunSerializer])
    def get(self, request: Request) -> Response:
        said = self.said(request, RunSerializer)
        return Response(
            {"run": shapes.of_run(actions.tracked(principal(request).tenant_id, RUN, said["run_id"]))}
        )


class _Note(MlflowView):
    """Writes something of a run."""

    permission_classes = [MayManageModels]

    def note(self, request: Request, said: dict[str, Any], **parts: Any) -> Tracked:
        return actions.note(tenant_id=principal(request).tenant_id, kind=RUN, key=said["run_id"], **parts)


class UpdateRunView(_Note):
    @_schema("update_run", UpdateRunSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, UpdateRunSerializer)
        values = {name: said[name] for name in ("status", "end_time") if name in said}
        return Response({"run_info": shapes.of_run(self.note(request, said, values=values))["info"]})


class LogMetricView(_Note):
    @_schema("log_metric", LogMetricSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, LogMetricSerializer)
        self.note(request, said, metrics=[said])
        return Response({})


class MetricHistoryView(MlflowView):
    """Of a metric the last step alone is kept."""

    permission_classes = [MayRead]

    @_schema("metric_history", parameters=[MetricHistorySerializer])
    def get(self, request: Request) -> Response:
        said = self.said(request, MetricHistorySerializer)
        run = actions.tracked(principal(request).tenant_id, RUN, said["run_id"])
        found = [
            metric for metric in shapes.of_run(run)["data"]["metrics"] if metric["key"] == said["metric_key"]
        ]
        return Response({"metrics": found})


class LogParamView(_Note):
    @_schema("log_param", LogParamSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, LogParamSerializer)
        self.note(request, said, params=[said])
        return Response({})


class SetTagView(_Note):
    @_schema("set_run_tag", LogParamSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, LogParamSerializer)
        self.note(request, said, tags=[said])
        return Response({})


class LogBatchView(_Note):
    @_schema("log_batch", LogBatchSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, LogBatchSerializer)
        self.note(request, said, **{name: said.get(name, []) for name in ("metrics", "params", "tags")})
        return Response({})


class OutputsView(_Note):
    """The logged models of a run; the logged model names its run, so nothing more is kept."""

    @_schema("log_outputs", RunSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, RunSerializer)
        actions.tracked(principal(request).tenant_id, RUN, said["run_id"])
        return Response({})


class LoggedModelsView(MlflowView):
    """A model that is about to be uploaded."""

    permission_classes = [MayManageModels]

    @_schema("create_logged_model", CreateLoggedModelSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, CreateLoggedModelSerializer)
        body = {
            "status": "LOGGED_MODEL_PENDING",
            "model_type": said.get("model_type", ""),
            "source_run_id": said.get("source_run_id", ""),
            "params": shapes.unpaired(said.get("params", [])),
            "tags": shapes.unpaired(said.get("tags", [])),
        }
        row = actions.track_model(by=principal(request), name=said.get("name", ""), body=body)
        return Response({"model": shapes.of_logged_model(row)})


class SearchLoggedModelsView(MlflowView):
    """The newest logged models, all or those of a name: `name = 'model'`."""

    permission_classes = [MayRead]

    @_schema("search_logged_models", SearchSerializer)
    def post(self, request: Request) -> Response:
        said = self.said(request, SearchSerializer)
        rows = Tracked.objects.for_tenant(principal(request).tenant_id).filter(kind=MODEL)
        found = by_name(rows, said.get("filter", ""))[:MOST_RESULTS]
        return Response({"models": [shapes.of_logged_model(row) for row in found]})


class LoggedModelView(PermissionsByVerb, MlflowView):
    permission_classes = [MayRead]
    verb_permissions = {"patch": [MayManageModels]}

    @_schema("get_logged_model")
    def get(self, request: Request, key: str) -> Response:
        row = actions.tracked(principal(request).tenant_id, MODEL, key)
        return Response({"model": shapes.of_logged_model(row)})

    @_schema("finish_logged_model", FinishLoggedModelSerializer)
    def patch(self, request: Request, key: str) -> Response:
        said = self.said(request, FinishLoggedModelSerializer)
        values = {"status": said["status"]} if "status" in said else {}
        row = actions.note(tenant_id=principal(request).tenant_id, kind=MODEL, key=key, values=values)
        return Response({"model": shapes.of_logged_model(row)})


class LoggedModelTagsView(MlflowView):
    permission_classes = [MayManageModels]

    @_schema("tag_logged_model", TagsSerializer)
    def patch(self, request: Request, key: str) -> Response:
        said = self.said(request, TagsSerializer)
        row = actions.note(
            tenant_id=principal(request).tenant_id, kind=MODEL, key=key, tags=said.get("tags", [])
        )
        return Response({"model": shapes.of_logged_model(row)})
