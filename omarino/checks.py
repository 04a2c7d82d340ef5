"""Do settings and servers fit together? `manage.py check` and every start ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from omarino import row_security


@register(Tags.security, deploy=True)
def hosts_are_named(**_: Any) -> list[CheckMessage]:
    if "*" in settings.ALLOWED_HOSTS:
        return [Warning("ALLOWED_HOSTS answers to every name.", id="omarino.W001")]
    return []


@register(Tags.security)
def storage_is_reached_over_tls(**_: Any) -> list[CheckMessage]:
    if settings.DEVELOPMENT or not settings.MINIO_ENDPOINT_URL.startswith("http://"):
        return []
    message = "Models and exports travel to MINIO_ENDPOINT_URL unencrypted."
    hint = "Name an https:// endpoint, with S3_CA_BUNDLE where its authority is your own."
    return [Warning(message, hint=hint, id="omarino.W002")]


@register(Tags.database)
def tables_have_row_security(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for alias in databases or []:
        if bare := row_security.unwalled(connections[alias]):
            message = f"Row-level security is missing on {', '.join(bare)}."
            found.append(Error(message, hint="Run manage.py migrate, which builds it.", id="omarino.E003"))
    return found


@register(Tags.database)
def role_respects_row_security(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """A superuser or BYPASSRLS role would see every tenant's rows whatever a policy says."""
    found: list[CheckMessage] = []
    for alias in databases or []:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
            )
            name, is_superuser, passes = cursor.fetchone()
            cursor.execute("SHOW server_version_num")
            version = int(cursor.fetchone()[0])
        if is_superuser or passes:
            message = f"The database role {name} passes row-level security."
            hint = (
                "Give the service a role that is neither superuser nor BYPASSRLS; see docs/configuration.md."
            )
            level = Warning if settings.DEVELOPMENT else Error
            found.append(level(message, hint=hint, id="omarino.E001"))
        if version < 150000:
            found.append(
                Error(f"PostgreSQL {version // 10000} is too old; 15 or newer is needed.", id="omarino.E002")
            )
    return found
