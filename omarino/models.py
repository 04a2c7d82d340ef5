"""People who sign in to the pages. Programs hold tokens and have no row here."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


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
