"""Somebody with all powers over the database, who tampers with the audit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as hub_settings
from django.contrib.postgres.functions import TransactionNow
from django.db import connection

from omarino import embedded
from omarino.audit_models import AuditRecord

Tamper = Callable[..., None]


def records_of_this_test() -> Any:
    """Of a test that is one transaction: nothing empties the audit of what others committed, of the same tenants."""
    return AuditRecord.objects.filter(at__gte=TransactionNow())


@pytest.fixture(autouse=True)
def files(tmp_path: Path, settings: Any) -> Path:
    """Empty storages for each test."""
    kept = copy.deepcopy(settings.STORAGES)
    for name in ("models", "exports", "default"):
        kept[name] = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / name)},
        }
    settings.STORAGES = kept
    return tmp_path


@pytest.fixture
def superuser(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """The superuser of the test's own server; of a given server, the owner of the tables, who has as much power
    over them."""
    about = connection.settings_dict
    login = {"user": about["USER"], "password": about["PASSWORD"]}
    if hub_settings.DATABASE_IS_EMBEDDED:
        services = embedded.running_services(hub_settings.DATA_DIR)
        login = {"user": "postgres", "password": services.postgres_password}
    with psycopg.connect(
        host=about["HOST"], port=about["PORT"], dbname=about["NAME"], autocommit=True, **login
    ) as found:
        yield found


@pytest.fixture
def tamper(superuser: psycopg.Connection[Any]) -> Tamper:
    """Run SQL past the triggers of both tables."""

    def tamper(statement: str, *values: Any) -> None:
        for table in ("audit_records", "audit_links"):
            superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        superuser.execute(statement, values)
        for table in ("audit_records", "audit_links"):
            superuser.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")
            for trigger in ("audit_append_only", "audit_no_truncate"):
                superuser.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
        superuser.execute("ALTER TABLE audit_records ENABLE ALWAYS TRIGGER audit_all_or_none")

    return tamper
