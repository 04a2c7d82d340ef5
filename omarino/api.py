"""Where HTTP meets the rest: parsing, rendering, paging, request ids, and every error as problem details."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
import redis
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.template.loader import render_to_string
from django.views import defaults
from psycopg.errors import UndefinedColumn, UndefinedTable
from rest_framework import exceptions, serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from omarino import audit
from omarino.errors import (
    BodyTooLarge,
    DatabaseMigrating,
    DatabaseUnavailable,
    HubError,
    LengthRequired,
    MalformedAddress,
    MalformedBody,
    NotFound,
    NotYours,
    Outage,
    TenantMismatch,
)
from omarino.strict_json import parse_json

PROBLEM = "application/problem+json"
DEFAULT_MAX_BODY_BYTES = 1_048_576
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
log = structlog.get_logger(__name__)


# What comes in


def read_body(stream: Any, limit_bytes: int) -> bytes:
    """The whole body, or `BodyTooLarge` before more than the limit was held."""
    declared = stream.META.get("CONTENT_LENGTH") if hasattr(stream, "META") else None
    if declared and int(declared) > limit_bytes:  # Django has read it as a number before
        raise BodyTooLarge(limit_bytes=limit_bytes)
    try:
        body: bytes = stream.read(limit_bytes + 1)
    except UnreadablePostError as fault:
        raise MalformedBody(reason="the connection ended before all of it had arrived") from fault
    if len(body) > limit_bytes:
        raise BodyTooLarge(limit_bytes=limit_bytes)
    return body


class StrictJSONParser(BaseParser):
    """A view says how much it takes: `max_body_bytes`."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        view = (parser_context or {}).get("view")
        body = read_body(stream, getattr(view, "max_body_bytes", DEFAULT_MAX_BODY_BYTES))
        if not body:
            raise MalformedBody(reason="it is empty; send a JSON object")
        return parse_json(body)


class TenantField(serializers.CharField):
    """The tenant a body names: the caller's own, or 403."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 64, "help_text": "The tenant of your token.", **kwargs})

    def to_internal_value(self, data: Any) -> str:
        named: str = super().to_internal_value(data)
        if named != self.context["request"].auth.tenant_id:
            raise TenantMismatch(where="the body")
        return named


class NothingMoreSerializer(serializers.Serializer[Any]):
    """Of a verb that needs no body; one that is sent may name the tenant, the caller's own."""

    tenant_id = TenantField(required=False)


# What goes out


class JSONRenderer(BaseRenderer):
    """orjson: numpy arrays as they are, times in UTC with `Z`."""

    media_type = "application/json"
    format = "json"
    charset = None
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        context = renderer_context or {}
        response = context.get("response")
        if response is not None and response.exception and response.accepted_renderer is self:
            response["Content-Type"] = PROBLEM  # but not when these are the lines inside a browsable page
        indent = orjson.OPT_INDENT_2 if context.get("indent") else 0  # asked for by the browsable page
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=str, option=self.options | indent)
        except TypeError:
            return orjson.dumps(_with_floats(data), default=str, option=self.options | indent)


def _with_floats(value: Any) -> Any:
    """Whole numbers past 64 bits as floats: PostgreSQL gives back a kept 1e30 as thirty-one digits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if isinstance(value, dict):
        return {name: _with_floats(part) for name, part in value.items()}
    return [_with_floats(part) for part in value] if isinstance(value, list | tuple) else value


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's pages over the same routes, for a person who signed in."""

    def get_default_renderer(self, view: Any) -> BaseRenderer:
        return JSONRenderer()


class Pagination(LimitOffsetPagination):
    """`limit` and `offset` are checked, not guessed; the rows stand under the view's `list_name`."""

    default_limit = 50
    max_limit = 500
    max_offset = 10_000_000
    list_name = "results"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        self.list_name = getattr(view, "list_name", self.list_name)
        return super().paginate_queryset(queryset, request, view)

    def get_limit(self, request: Request) -> int:
        return self._whole(request, "limit", 1, self.max_limit, self.default_limit)

    def get_offset(self, request: Request) -> int:
        return self._whole(request, "offset", 0, self.max_offset, 0)

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {self.list_name: data, "total": self.count, "limit": self.limit, "offset": self.offset}
        )

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        bounds = {
            "limit": {"minimum": 1, "maximum": self.max_limit, "default": self.default_limit},
            "offset": {"minimum": 0, "maximum": self.max_offset, "default": 0},
        }
        return [
            {"name": name, "in": "query", "required": False, "schema": {"type": "integer", **bound}}
            for name, bound in bounds.items()
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        whole = {"type": "integer", "minimum": 0}
        return {
            "type": "object",
            "required": [self.list_name, "total", "limit", "offset"],
            "properties": {self.list_name: schema, "total": whole, "limit": whole, "offset": whole},
        }

    @staticmethod
    def _whole(request: Request, name: str, least: int, most: int, default: int) -> int:
        text = request.query_params.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 13 and least <= int(text) <= most):
            raise exceptions.ValidationError({name: f"A whole number from {least} to {most}."})
        return int(text)


# Errors


def problem(request: Any, *, status: int, code: str, title: str, detail: str, **facts: Any) -> dict[str, Any]:
    """The body of an error, RFC 9457; `code` is for programs and does not change."""
    return {
        **facts,
        "type": f"urn:omarino:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": getattr(request, "request_id", None),
    }


def handle_exception(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """The one place where errors meet HTTP. The unexpected gives None: logged, answered 500."""
    request = context["request"]
    known = _as_problem(exc)
    if known is None:
        return None
    set_rollback()
    if not isinstance(getattr(request, "accepted_renderer", None), BrowsableRenderer):
        # a route that answers HTML, CSV or a file answers errors as all others do
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    status, code, title, detail, facts, headers = known
    if status == HTTPStatus.FORBIDDEN or isinstance(exc, NotYours):
        audit.refused(request._request, status=status, code=code)
    body = problem(request._request, status=status, code=code, title=title, detail=detail, **facts)
    return Response(body, status=status, headers=headers)


Known = tuple[int, str, str, str, dict[str, Any], dict[str, str]]


def _as_problem(exc: Exception) -> Known | None:
    if isinstance(exc, Http404):
        exc = NotFound()
    if isinstance(exc, OperationalError | InterfaceError):
        log.error("database_unavailable", error=str(exc).split("\n")[0])
        exc = DatabaseUnavailable()
    if _is_being_migrated(exc):
        log.error("database_migrating", error=str(exc).split("\n")[0])
        exc = DatabaseMigrating()
    if isinstance(exc, redis.ConnectionError | redis.TimeoutError):
        log.error("valkey_unavailable", error=str(exc))
        exc = Outage()
    if isinstance(exc, Outage):
        return exc.status, exc.code, exc.title, str(exc), exc.facts, {"Retry-After": str(exc.retry_after_s)}
    if isinstance(exc, HubError):
        wait_s = exc.facts.get("retry_after_s")
        headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
        return exc.status, exc.code, exc.title, str(exc), exc.facts, headers
    if isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if isinstance(exc, RequestDataTooBig):
        exc = BodyTooLarge(limit_bytes=DEFAULT_MAX_BODY_BYTES)
        return exc.status, exc.code, exc.title, str(exc), exc.facts, {}
    if isinstance(exc, SuspiciousOperation):
        return 400, "bad_request", "Bad request", "The request cannot be served.", {}, {}
    if isinstance(exc, exceptions.ValidationError):
        errors = list(_flatten(exc.get_full_details()))
        named = ", ".join(dict.fromkeys(error["field"] for error in errors if error["field"]))
        whole = errors[0]["message"] if errors else str(exc.default_detail)
        detail = f"Please mend: {named}." if named else _sentence(whole)
        return 422, "validation_failed", "Unprocessable content", detail, {"errors": errors}, {}
    if isinstance(exc, exceptions.APIException):
        headers = {}
        if header := getattr(exc, "auth_header", None):
            headers["WWW-Authenticate"] = header
        if (wait := getattr(exc, "wait", None)) is not None:
            headers["Retry-After"] = str(math.ceil(wait))
        code = exc.get_codes()
        title = HTTPStatus(exc.status_code).phrase
        return (
            exc.status_code,
            code if isinstance(code, str) else "error",
            title,
            _sentence(str(exc.detail)),
            {},
            headers,
        )
    return None


def _is_being_migrated(exc: Exception) -> bool:
    """Whether tables or columns that this version knows are not there yet, or no longer."""
    return isinstance(exc, ProgrammingError) and isinstance(exc.__cause__, UndefinedTable | UndefinedColumn)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _flatten(details: Any, path: tuple[str, ...] = ()) -> Any:
    """DRF's tree of details as rows of field, message and code."""
    if isinstance(details, list):
        for index, part in enumerate(details):
            leaf = (
                isinstance(part, dict) and set(part) == {"message", "code"} and isinstance(part["code"], str)
            )
            yield from _flatten(part, path if leaf else (*path, str(index)))
    elif set(details) == {"message", "code"} and isinstance(details["code"], str):
        yield {"field": ".".join(path), "message": details["message"], "code": details["code"]}
    else:
        for name, part in details.items():
            yield from _flatten(part, path if name == "non_field_errors" else (*path, str(name)))


# Middleware, and Django's own error pages


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
            return _refuse(request, MalformedAddress())
        if _has_body_of_unknown_length(request):
            return _refuse(request, LengthRequired())
        return self.get_response(request)


def _has_body_of_unknown_length(request: HttpRequest) -> bool:
    """Chunked, or HTTP/2 without a length: Django would take it for an empty body."""
    if request.META.get("CONTENT_LENGTH"):
        return False
    if "HTTP_TRANSFER_ENCODING" in request.META:
        return True
    ends_by_itself = request.META.get("wsgi.input_terminated") and request.method not in ("GET", "HEAD")
    return bool(ends_by_itself and request.META["wsgi.input"].read(1))


def _refuse(request: HttpRequest, refusal: HubError) -> HttpResponse:
    return _json(request, refusal.status, refusal.code, refusal.title, str(refusal))


class OutageMiddleware:
    """Refusals and outages outside DRF's views, in a page or a sign-in: the same answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return answer_outage(request, exception)


def answer_outage(request: HttpRequest, exception: Exception) -> HttpResponse | None:
    """The answer to a refusal or an outage, for a person a page where it is a page; None for the unexpected."""
    outages = HubError | Outage | OperationalError | InterfaceError | ProgrammingError | redis.RedisError
    if not isinstance(exception, outages):
        return None
    known = _as_problem(exception)
    if known is None:
        return None
    status, code, title, detail, facts, headers = known
    if status == Outage.status and _is_page(request):
        page = render_to_string(
            "503.html", {"detail": detail}
        )  # not for this request: its user is in the database
        return HttpResponse(page, status=status, headers=headers)
    return _json(request, status, code, title, detail, headers, **facts)


def _json(
    request: HttpRequest,
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **facts: Any,
) -> HttpResponse:
    body = problem(request, status=status, code=code, title=title, detail=detail, **facts)
    return HttpResponse(
        orjson.dumps(body, default=str), status=status, content_type=PROBLEM, headers=dict(headers or {})
    )


def _is_page(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_page(request):
        return defaults.bad_request(request, exception)
    known = _as_problem(exception) or (
        400,
        "bad_request",
        "Bad request",
        "The request cannot be served.",
        {},
        {},
    )
    return _json(request, *known[:4])


def handler403(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    audit.refused(request, status=403, code="permission_denied")
    if _is_page(request):
        return defaults.permission_denied(request, exception)
    return _json(request, 403, "permission_denied", "Forbidden", "You may not do this.")


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_page(request):
        return defaults.page_not_found(request, exception)
    return _json(request, NotFound.status, NotFound.code, NotFound.title, NotFound.detail)


def handler500(request: HttpRequest) -> HttpResponseBase:
    if _is_page(request):
        return defaults.server_error(request)
    detail = "Something went wrong on our side. It was logged under this request_id; nothing was changed."
    return _json(request, 500, "internal_error", "Internal server error", detail)
