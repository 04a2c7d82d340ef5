"""What all calls of MLflow's API share: one serializer that reads them, and errors in MLflow's words as well as ours."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

TAGS = ["mlflow"]
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "INVALID_STATE",
    413: "REQUEST_LIMIT_EXCEEDED",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
EXISTS = frozenset({"model_exists", "version_exists"})


class MlflowView(APIView):
    """A call of MLflow's REST API 2.0, for its client."""

    throttle_scope = "light"  # its client writes a line for each number it logs

    def said(self, request: Request, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The fields of the call, from the query of a GET and the body of any other."""
        data = request.data if request.method != "GET" else _of_query(request, serializer)
        asked = serializer(data=data, context={"request": request})
        asked.is_valid(raise_exception=True)
        return {name: value for name, value in asked.validated_data.items() if value is not None}

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(response.data, dict):
            code = "RESOURCE_ALREADY_EXISTS" if response.data.get("code") in EXISTS else None
            response.data["error_code"] = code or ERROR_CODES.get(response.status_code, "INTERNAL_ERROR")
            response.data["message"] = _sentence(response.data)
        return response


def _of_query(request: Request, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """As plain values: to a form's own, an empty text would be none at all."""
    fields = serializer().fields
    return {
        name: values if isinstance(fields.get(name), serializers.ListField) else values[-1]
        for name, values in request.query_params.lists()
    }


def _sentence(problem: dict[str, Any]) -> str:
    """MLflow's client shows one sentence, so what is wrong with each field stands in it."""
    fields = [f"{error['field']}: {error['message']}" for error in problem.get("errors", [])]
    return " ".join([str(problem.get("detail", "")), *fields])
