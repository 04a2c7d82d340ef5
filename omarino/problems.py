"""Where errors meet HTTP: every one as problem details, RFC 9457, to programs; as a page to people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
import redis
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.views import defaults
from psycopg.errors import UndefinedColumn, UndefinedTable
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from omarino import access, audit, limits
from omarino.api import DEFAULT_MAX_BODY_BYTES, PROBLEM, BrowsableRenderer, JSONRenderer
from omarino.errors import (
    BodyTooLarge,
    DatabaseMigrating,
    DatabaseUnavailable,
    HubError,
    NotFound,
    NotYours,
    Outage,
)

log = structlog.get_logger(__name__)


class Problem(NamedTuple):
    """An error as it is answered; `code` is for programs and does not change."""

    status: int
    code: str
    title: str
    detail: str
    facts: Mapping[str, Any] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})

    def body(self, request: Any) -> dict[str, Any]:
        return {
            **self.facts,
            "type": f"urn:omarino:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": getattr(request, "request_id", None),
        }

    def response(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request that no view of the API has seen."""
        return HttpResponse(
            orjson.dumps(self.body(request), default=str),
            status=self.status,
            content_type=PROBLEM,
            headers=dict(self.headers),
        )


BAD_REQUEST = Problem(400, "bad_request", "Bad request", "The request cannot be served.")
FORBIDDEN = Problem(403, "permission_denied", "Forbidden", "You may not do this.")
INTERNAL_ERROR = Problem(
    500,
    "internal_error",
    "Internal server error",
    "Something went wrong on our side. It was logged under this request_id; nothing was changed.",
)


def handle_exception(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """Of every view of the API. The unexpected gives None: logged, answered 500."""
    request = context["request"]
    problem = _as_problem(exc)
    if problem is None:
        return None
    set_rollback()
    if problem.status == HTTPStatus.FORBIDDEN or isinstance(exc, NotYours):
        problem = _kept_as_refused(request._request, problem)
    access.refused(request._request, problem.status, problem.code, exc)
    if not isinstance(getattr(request, "accepted_renderer", None), BrowsableRenderer):
        # a route that answers HTML, CSV or a file answers errors as all others do
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    return Response(problem.body(request._request), status=problem.status, headers=dict(problem.headers))


def _kept_as_refused(request: HttpRequest, problem: Problem) -> Problem:
    """By the audit; but who has no more requests left gets 429 instead, and leaves nothing behind for ever."""
    try:
        limits.charge_refusal(request)
    except limits.RateLimited as refusal:
        return _of_family(refusal)
    audit.refused(request, status=problem.status, code=problem.code)
    return problem


def _as_problem(exc: Exception) -> Problem | None:
    exc = _in_our_words(exc)
    if isinstance(exc, HubError | Outage):
        return _of_family(exc)
    if isinstance(exc, SuspiciousOperation):
        return BAD_REQUEST
    if isinstance(exc, exceptions.ValidationError):
        return _of_fields(exc)
    if isinstance(exc, exceptions.APIException):
        return _of_rest_framework(exc)
    return None


def _in_our_words(exc: Exception) -> Exception:
    """What Django, the database and Valkey raise, by the name it has here; everything else as it is."""
    if isinstance(exc, Http404):
        return NotFound()
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(exc, RequestDataTooBig):
        return BodyTooLarge(limit_bytes=DEFAULT_MAX_BODY_BYTES)
    if isinstance(exc, OperationalError | InterfaceError):
        log.error("database_unavailable", error=str(exc).split("\n")[0])
        return DatabaseUnavailable()
    if _is_being_migrated(exc):
        log.error("database_migrating", error=str(exc).split("\n")[0])
        return DatabaseMigrating()
    if isinstance(exc, redis.ConnectionError | redis.TimeoutError):
        log.error("valkey_unavailable", error=str(exc))
        return Outage()
    return exc


def _of_family(exc: HubError | Outage) -> Problem:
    wait_s = exc.retry_after_s if isinstance(exc, Outage) else exc.facts.get("retry_after_s")
    headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
    return Problem(exc.status, exc.code, exc.title, str(exc), exc.facts, headers)


def _of_fields(exc: exceptions.ValidationError) -> Problem:
    errors = list(_flatten(exc.get_full_details()))
    named = ", ".join(dict.fromkeys(error["field"] for error in errors if error["field"]))
    whole = errors[0]["message"] if errors else str(exc.default_detail)
    detail = f"Please mend: {named}." if named else _sentence(whole)
    return Problem(422, "validation_failed", "Unprocessable content", detail, {"errors": errors})


def _of_rest_framework(exc: exceptions.APIException) -> Problem:
    headers = {}
    if header := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if (wait := getattr(exc, "wait", None)) is not None:
        headers["Retry-After"] = str(math.ceil(wait))
    codes = exc.get_codes()
    code = codes if isinstance(codes, str) else "error"
    title = HTTPStatus(exc.status_code).phrase
    return Problem(exc.status_code, code, title, _sentence(str(exc.detail)), headers=headers)


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
    problem = _as_problem(exception) if isinstance(exception, outages) else None
    if problem is None:
        return None
    if problem.status == Outage.status and _is_page(request):
        # rendered without the request: its user is in the database
        page = render_to_string("503.html", {"detail": problem.detail})
        return HttpResponse(page, status=problem.status, headers=dict(problem.headers))
    return problem.response(request)


def refuse(request: HttpRequest, refusal: HubError | Outage) -> HttpResponse:
    return _of_family(refusal).response(request)


def _is_page(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")


def handler400(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_page(request):
        return defaults.bad_request(request, exception)
    return (_as_problem(exception) or BAD_REQUEST).response(request)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    audit.refused(request, status=FORBIDDEN.status, code=FORBIDDEN.code)
    access.refused(request, FORBIDDEN.status, FORBIDDEN.code, exception)
    if _is_page(request):
        return defaults.permission_denied(request, exception)
    return FORBIDDEN.response(request)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if _is_page(request):
        return defaults.page_not_found(request, exception)
    return refuse(request, NotFound())


def handler500(request: HttpRequest) -> HttpResponseBase:
    if _is_page(request):
        return defaults.server_error(request)
    return INTERNAL_ERROR.response(request)
