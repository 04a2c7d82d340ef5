"""Where HTTP meets the rest: bodies are parsed, answers rendered, lists paged. Errors: `omarino.problems`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import UnreadablePostError
from rest_framework import exceptions, serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from omarino.errors import BodyTooLarge, MalformedBody, TenantMismatch
from omarino.strict_json import parse_json

PROBLEM = "application/problem+json"
DEFAULT_MAX_BODY_BYTES = 1_048_576
MOST_NAMED = 10  # unknown fields, in the answer


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


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know, where going on without a misspelt one would do something else for good."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        if unknown:
            known = f"There is no such field. There are {', '.join(self.fields)}."
            raise serializers.ValidationError({name[:64]: known for name in unknown[:MOST_NAMED]})
        said: dict[str, Any] = super().to_internal_value(data)
        return said


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
