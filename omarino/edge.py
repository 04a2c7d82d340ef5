"""The first to see a request: gives it an id, and refuses what Django would misread."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.wsgi import get_path_info
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest, HttpResponseBase
from django.http.cookie import parse_cookie
from django.urls import Resolver404, resolve
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.views import APIView

from omarino.api import DEFAULT_MAX_BODY_BYTES
from omarino.authentication import principal_of
from omarino.errors import LengthRequired, MalformedAddress, Outage
from omarino.problems import refuse

REFUSAL = "omarino.refusal"  # in WSGI's environment: what was found before Django was asked
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
    """Refuses what Django would misread: a NUL for the database, a body whose length nobody told or that never came."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if refusal := request.META.get(REFUSAL):
            return refuse(request, refusal)
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


# Before a long body is received


def is_wanted(environ: dict[str, Any]) -> bool:
    """Whether somebody known sends it, to a route that takes so much. Else the headers are enough to refuse it by."""
    return int(environ["CONTENT_LENGTH"]) <= _most_bytes(get_path_info(environ)) and _is_of_somebody(environ)


def _most_bytes(path: str) -> int:
    try:
        view = resolve(path).func
    except Resolver404:
        return 0
    of_the_api: Any = getattr(view, "view_class", getattr(view, "cls", None))
    if isinstance(of_the_api, type) and issubclass(of_the_api, APIView):
        return int(getattr(of_the_api, "max_body_bytes", DEFAULT_MAX_BODY_BYTES))
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


def _is_of_somebody(environ: dict[str, Any]) -> bool:
    """By a good token, or by the session of a person."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    try:
        if scheme.lower() == "bearer":
            return bool(principal_of(token.strip()))
        name = parse_cookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME)
        if name is None:
            return False
        close_old_connections()  # no request has begun here that would have
        return SESSION_KEY in SessionStore(name)
    except (AuthenticationFailed, Outage, DatabaseError):
        return False
