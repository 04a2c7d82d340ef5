"""Who asks at this moment: what the audit keeps, and what the database is told before it answers.

Which tenant an action works for is its argument, as ever; nothing reads it from here.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from celery import current_task
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponseBase

from omarino import row_security
from omarino.models import User

if TYPE_CHECKING:
    from omarino.authentication import Principal


@dataclass(frozen=True, slots=True)
class Asker:
    subject: str
    username: str
    request_id: str = ""


_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def entered(request: HttpRequest, principal: Principal) -> None:
    """A principal is known: from now on the database shows this request the rows of its tenant only."""
    request.principal = principal  # type: ignore[attr-defined]
    row_security.confine(principal.tenant_id)


def signs_in(request: HttpRequest, principal: Principal) -> None:
    """The provider says who this is: they ask from now on, whoever was signed in until now. For the rest of this
    request no tenant holds: somebody may come from one and be kept in another."""
    request.principal = principal  # type: ignore[attr-defined]
    row_security.release()


def changes_hands(person: User) -> None:
    """Where somebody was confined as they were signed in, the request is the new person's from now on."""
    if row_security.confined_to():
        row_security.confine("" if person.is_superuser else person.tenant_id)


def asker() -> Asker:
    """Who asked for what is done now: a principal, a person of the pages, a worker's task, or who runs a command."""
    request, request_id = _request.get(), structlog.contextvars.get_contextvars().get("request_id", "")
    if request is not None:
        if principal := getattr(request, "principal", None):
            return Asker(principal.subject, principal.username, request_id)
        user = getattr(request, "user", None)
        if isinstance(user, User):
            return Asker(user.subject or f"user:{user.pk}", user.get_username(), request_id)
        return Asker("", "", request_id)
    if current_task:
        return Asker(f"task:{current_task.name}", "worker", request_id)
    name = getpass.getuser()
    return Asker(f"command:{name}", name, request_id)


class AskingMiddleware:
    """Knows the request while it is answered; afterwards the connection is nobody's again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        held = _request.set(request)
        try:
            if request.path_info.startswith("/admin/"):
                _confine_person(request)
            response = self.get_response(request)
            if hasattr(request, "principal"):  # a browser must not show it to who sits there next
                response.headers.setdefault("Cache-Control", "no-store")
            return response
        finally:
            _request.reset(held)
            row_security.release()


def _confine_person(request: HttpRequest) -> None:
    """People see their tenant's rows on the pages; superusers see all."""
    try:
        user = request.user
        if isinstance(user, User) and not user.is_superuser and user.tenant_id:
            row_security.confine(user.tenant_id)
    except (OperationalError, InterfaceError):
        pass  # the page will meet the same outage, where it is answered
