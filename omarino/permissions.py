"""Which role may do what. A view that names none of these is closed."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

AI_USER = "ai_user"
FORECASTER = "forecaster"
ANOMALY_ANALYST = "anomaly_analyst"
MODEL_ADMIN = "model_admin"
ROLES = frozenset({AI_USER, FORECASTER, ANOMALY_ANALYST, MODEL_ADMIN})


class Closed(BasePermission):
    """The default: a route without a permission of its own lets nobody in."""

    message = "This route is closed."

    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class _HasOneOf(BasePermission):
    roles: ClassVar[frozenset[str]]

    @property
    def message(self) -> str:
        return f"This needs one of the roles {', '.join(sorted(self.roles))}."

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(self.roles & getattr(request.auth, "roles", frozenset()))


class MayRead(_HasOneOf):
    """Whoever has a role reads what is the tenant's."""

    roles = ROLES


class MayUseFeatures(_HasOneOf):
    roles = ROLES


class MayDefineFeatures(_HasOneOf):
    """Who puts features together for models: whoever makes forecasts or trains."""

    roles = frozenset({FORECASTER, MODEL_ADMIN})


class MayForecast(_HasOneOf):
    roles = frozenset({FORECASTER})


class MayDetectAnomalies(_HasOneOf):
    roles = frozenset({ANOMALY_ANALYST})


class MayPredict(_HasOneOf):
    roles = ROLES


class MayManageModels(_HasOneOf):
    roles = frozenset({MODEL_ADMIN})


class MayReadAudit(_HasOneOf):
    """It names people and what they did."""

    roles = frozenset({MODEL_ADMIN})


class PermissionsByVerb:
    """For a view whose verbs need different roles: those named here, the rest as `permission_classes` says."""

    verb_permissions: ClassVar[dict[str, list[type[BasePermission]]]] = {}

    def get_permissions(self) -> list[BasePermission]:
        verb = getattr(self, "request").method.lower()  # noqa: B009  a mixin: the view has it
        named = self.verb_permissions.get(verb, getattr(self, "permission_classes"))  # noqa: B009
        return [permission() for permission in named]
