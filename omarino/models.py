"""People who sign in to the pages. Programs hold tokens and have no row here."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.functional import cached_property

from omarino.audit_models import AuditLink, AuditRecord
from omarino.permissions import ROLES

__all__ = ["AuditLink", "AuditRecord", "User"]


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
