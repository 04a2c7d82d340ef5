"""What the OpenAPI document says of every route: the token, and errors as problem details."""

from __future__ import annotations

from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers

from omarino.api import PROBLEM


class FieldProblemSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="Path of the field, such as historical_data.3.value.")
    message = serializers.CharField()
    code = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """An error, RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence that says what to do.")
    code = serializers.CharField(help_text="Stable, for programs.")
    request_id = serializers.CharField()
    errors: Any = FieldProblemSerializer(many=True, required=False)


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "omarino.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class SignedInScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "omarino.authentication.SignedInAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class Schema(AutoSchema):
    """Adds the errors that any route of the API may answer."""

    def _get_paginator(self) -> Any:
        paginator = super()._get_paginator()  # type: ignore[no-untyped-call]
        if paginator is not None:
            paginator.list_name = getattr(self.view, "list_name", paginator.list_name)
        return paginator

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        if getattr(self.view, "authentication_classes", None):
            for status, meaning in (
                ("400", "The request makes no sense."),
                ("401", "No token, or not a good one."),
                ("403", "The role is missing, or another tenant was named."),
                ("404", "Nothing is here for this tenant."),
                ("409", "It does not go with what is there."),
                ("413", "The body or the series is too large."),
                ("422", "A field is not valid."),
                ("429", "Too many requests; ask again after Retry-After seconds."),
                ("503", "A dependency is out; try again after Retry-After seconds."),
            ):
                if status not in bodies:
                    bodies[status] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                        OpenApiResponse(ProblemSerializer, description=meaning), status, [PROBLEM]
                    )
        return bodies
