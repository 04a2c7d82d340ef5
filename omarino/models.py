"""People who sign in to the pages. Programs hold tokens and have no row here."""

from __future__ import annotations

from typing import Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.functional import cached_property

from omarino.audit_models import AuditLink, AuditRecord
from omarino.permissions import ROLES

__all__ = ["AuditLink", "AuditRecord", "ProviderSession", "User"]


class User(AbstractUser):
    """A person. Groups carry the token's roles; the tenant bounds what the person sees."""

    tenant_id = models.CharField(max_length=64, blank=True, default="")
    subject = models.CharField(
        max_length=255, unique=True, null=True, blank=True
    )  # `sub` of the identity provider

    class Meta(AbstractUser.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(subject__isnull=True) | ~models.Q(subject=""),
                name="omarino_subject_not_empty",
            ),
        ]

    @cached_property
    def roles(self) -> frozenset[str]:
        """What a token would say: the groups of this person, or everything for a superuser."""
        return ROLES if self.is_superuser else ROLES & set(self.groups.values_list("name", flat=True))


class ProviderSessionQuerySet(models.QuerySet["ProviderSession"]):
    def named_by(self, *, subject: str | None, sid: str | None) -> Self:
        """What a logout token means: all sessions of a person, one session of the provider, or both at once.

        A session whose ID token named none of the provider's is of its person alone.
        """
        found = self.filter(person__subject=subject) if subject is not None else self
        if sid is None:
            return found
        return found.filter(
            models.Q(sid=sid) | models.Q(sid="") if subject is not None else models.Q(sid=sid)
        )


class ProviderSession(models.Model):
    """A session here that a sign-in at the identity provider began, for when the provider says it is over."""

    session_key = models.CharField(max_length=40, primary_key=True, editable=False)
    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="provider_sessions")
    sid = models.CharField(max_length=255, blank=True, editable=False)  # the provider's, where it names them

    objects = ProviderSessionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["sid"], name="omarino_session_of_provider")]  # which one is over

    def __str__(self) -> str:
        return f"{self.person} by the provider"
