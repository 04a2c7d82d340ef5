"""The first to see a request: gives it an id, and refuses what Django would misread."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase

from omarino.errors import LengthRequired, MalformedAddress
from omarino.problems import refuse

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIdMiddleware:
    """Gives each request an id, or keeps the caller's, in the answer and in every log line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        structlog.contextvars.clear_contextvars()  # the thread served somebody else before
        given = request.headers.get("X-Request-ID", "")
        request.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex  # type: ignore[attr-defined]
        known = {"request_id": request.request_id}  # type: ignore[attr-defined]
        if trace := TRACEPARENT.fullmatch(request.headers.get("traceparent", "")):
            known["trace_id"] = trace[1]
        with structlog.contextvars.bound_contextvars(**known):
            response = self.get_response(request)
        response.headers["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        return response


class EdgeMiddleware:
    """Refuses what Django would misread: a NUL for the database, a body whose length nobody told."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            return refuse(request, MalformedAddress())
        if _has_body_of_unknown_length(request):
            return refuse(request, LengthRequired())
        return self.get_response(request)


def _has_body_of_unknown_length(request: HttpRequest) -> bool:
    """Chunked, or HTTP/2 without a length: Django would take it for an empty body."""
    if request.META.get("CONTENT_LENGTH"):
        return False
    if "HTTP_TRANSFER_ENCODING" in request.META:
        return True
    ends_by_itself = request.META.get("wsgi.input_terminated") and request.method not in ("GET", "HEAD")
    return bool(ends_by_itself and request.META["wsgi.input"].read(1))
