"""The features on both databases: plain PostgreSQL, and TimescaleDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.timescaledb import as_default, migrate, timescaledb

TABLES = (
    "features_asset, timeseries_data, weather_features, timeseries_revisions, weather_revisions, ai_features, "
    "features_tenantfeatureset, retention_cuts"
)


@pytest.fixture(scope="session")
def timescale_settings(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A TimescaleDB with all migrations."""
    with timescaledb() as settings, django_db_blocker.unblock():
        with as_default(settings):
            migrate()
        yield settings


@pytest.fixture
def on_timescaledb(timescale_settings: dict[str, Any], django_db_blocker: Any) -> Iterator[None]:
    """The default database of this test is the TimescaleDB, empty."""
    with django_db_blocker.unblock(), as_default(timescale_settings):
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLES}")
            cursor.execute("SELECT set_chunk_time_interval('timeseries_data', INTERVAL '30 days')")
        yield


@pytest.fixture(params=["postgresql", "timescaledb"])
def database(request: pytest.FixtureRequest, transactional_db: None) -> str:
    """Each database in turn, written to for good as a commit does; its name."""
    if request.param == "timescaledb":
        request.getfixturevalue("on_timescaledb")
    return str(request.param)
