"""`manage.py token --tenant T --roles a,b`: a development token and nothing else, for `$(...)`."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from omarino.authentication import TENANT_ID, development_token
from omarino.permissions import ROLES

LONGEST_TTL_S = 315_360_000


def _roles(text: str) -> frozenset[str]:
    roles = frozenset(role.strip() for role in text.split(",") if role.strip())
    if unknown := roles - ROLES:
        raise ArgumentTypeError(
            f"unknown role {', '.join(sorted(unknown))}; there are {', '.join(sorted(ROLES))}"
        )
    return roles


def _tenant(text: str) -> str:
    if not TENANT_ID.fullmatch(text):
        raise ArgumentTypeError("a tenant is 1 to 64 letters, digits, '-', '_' or '.'")
    return text


def _claims(text: str) -> dict[str, Any]:
    try:
        claims = json.loads(text)
    except json.JSONDecodeError as fault:
        raise ArgumentTypeError(f"not JSON: {fault}") from fault
    if not isinstance(claims, dict):
        raise ArgumentTypeError('a JSON object, such as \'{"aud": "other"}\'')
    return claims


def _seconds(text: str) -> int:
    seconds = int(text)
    if abs(seconds) > LONGEST_TTL_S:
        raise ArgumentTypeError(f"at most {LONGEST_TTL_S} seconds, ten years")
    return seconds


class Command(BaseCommand):
    help = "Print a token of the development issuer."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", type=_tenant, default="demo")
        parser.add_argument("--roles", type=_roles, default=ROLES, help="comma-separated; all by default")
        parser.add_argument(
            "--ttl", type=_seconds, default=3600, help="seconds it is valid; may be negative, for tests"
        )
        parser.add_argument(
            "--claims",
            type=_claims,
            default={},
            help="JSON object: replaces claims, null removes one; for tests",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEVELOPMENT_ISSUER:
            raise CommandError(
                "There is a development issuer only with ENVIRONMENT=development and no KEYCLOAK_URL. "
                "Fetch a token from your identity provider."
            )
        self.stdout.write(
            development_token(
                tenant_id=options["tenant"],
                roles=options["roles"],
                ttl=timedelta(seconds=options["ttl"]),
                claims=options["claims"],
            )
        )
