"""The service's addresses, and some whose views fail in every way a view can."""

from __future__ import annotations

from typing import Any

import redis
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.errors import HubError, Outage
from omarino.permissions import MayRead
from omarino.urls import handler400, handler403, handler404, handler500, urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]
SECRET = "hunter2-in-a-traceback"


class Teapot(HubError):
    status = 418
    code = "teapot"
    title = "I'm a teapot"
    detail = "This is a {colour} teapot."


class CacheAway(Outage):
    code = "cache_away"
    detail = "The cache {name} is away."
    retry_after_s = 7


class Slow(exceptions.APIException):
    status_code = 429
    default_code = "throttled"
    wait = 2.1


FAULTS: dict[str, Any] = {
    "hub-error": Teapot(colour="brown"),
    "outage": CacheAway(name="main"),
    "operational": OperationalError(f"connection to host {SECRET} failed"),
    "interface": InterfaceError(f"connection {SECRET} is closed"),
    "valkey": redis.ConnectionError(f"{SECRET} refused"),
    "valkey-slow": redis.TimeoutError(SECRET),
    "not-found": Http404(SECRET),
    "forbidden": PermissionDenied(SECRET),
    "suspicious": SuspiciousOperation(SECRET),
    "validation": exceptions.ValidationError({"horizon_hours": ["Too long."], "points": {"3": ["Bad."]}}),
    "validation-text": exceptions.ValidationError("All of it is wrong."),
    "validation-empty": exceptions.ValidationError({}),
    "throttled": Slow(),
    "bug": ZeroDivisionError(SECRET),
    "bug-in-redis": redis.ResponseError(SECRET),
}


class FailingView(APIView):
    authentication_classes = []
    permission_classes = [AllowAny]

    def get(self, request: Request, name: str) -> Response:
        raise FAULTS[name]


def failing_page(request: HttpRequest, name: str) -> HttpResponse:
    raise FAULTS[name]


class NameSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=5)


class EchoView(APIView):
    permission_classes = [MayRead]
    max_body_bytes = 1000

    def post(self, request: Request) -> Response:
        return Response({"got": request.data})


class ForgottenView(APIView):
    """Its author gave it no permission."""

    def get(self, request: Request) -> Response:
        return Response({"secret": SECRET})


urlpatterns = [
    *urlpatterns,
    path("fails/<str:name>", FailingView.as_view()),
    path("page-fails/<str:name>", failing_page),
    path("echo", EchoView.as_view()),
    path("forgotten", ForgottenView.as_view()),
]
