"""What is kept of who signs in to the pages: a record in the audit, whichever way they came, and which session of the
identity provider theirs belongs to."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.dispatch import receiver
from django.http import HttpRequest

from omarino import audit
from omarino.asking import changes_hands
from omarino.models import ProviderSession, User


@receiver(user_logged_in)
def keep_signing_in(request: HttpRequest | None, user: User, **_: Any) -> None:
    if request is not None:  # a test, or a command, may sign somebody in without one
        changes_hands(user)
        audit.record(user.tenant_id, "signed_in", "person", user.pk)


@receiver(user_logged_out)
def forget_provider_session(request: HttpRequest, **_: Any) -> None:
    if key := request.session.session_key:
        ProviderSession.objects.filter(session_key=key).delete()


def keep_provider_session(request: HttpRequest, person: User) -> None:
    """Called at each sign-in and renewal by the provider, which may go on under another session of its own."""
    sid = getattr(request, "provider_session", None)
    ProviderSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={"person": person, "sid": sid if isinstance(sid, str) and len(sid) <= 255 else ""},
    )


def forget_ended_sessions() -> int:
    """Of sessions that ended by themselves; how many."""
    open_now = Session.objects.filter(session_key=OuterRef("session_key"))
    return ProviderSession.objects.filter(~Exists(open_now)).delete()[0]
