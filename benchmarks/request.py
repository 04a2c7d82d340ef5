"""What a request costs and of what that is made: processor time and round trips, in this process, without a network.

Starts the PostgreSQL and the Valkey that `make up` starts, and calls the service as the web server does: a prediction by
`production` (LightGBM, 300 trees, 20 features) and features that are in the cache, as an authenticated caller of one
tenant; then by callers of two tenants in turn. Round trips are what the process waits for; processor time is user and
system together, the smallest of many rounds, so that it can be compared on a machine that others use. Parts are
measured alone, and are cheaper alone than among others.

    python -m benchmarks.request --write docs/benchmarks/request.md
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS, CALLS = 40, 25
START = datetime(2025, 1, 1, tzinfo=UTC)
PREDICT = "/ai/models/{tenant}:bench:production/predict"
FEATURES = "forecast_advanced"


@contextmanager
def servers() -> Iterator[None]:
    """A database and a cache of its own; the settings are read when they run."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        static = Path(folder) / "static"
        static.mkdir()
        os.environ |= {
            "DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "omarino.settings",
            "LOG_LEVEL": "WARNING",
            "PROMETHEUS_MULTIPROC_DIR": f"{folder}/metrics",
            "RATE_LIMIT_LIGHT": "10000000",
            "STATIC_ROOT": str(static),
        }
        from omarino import embedded

        services = embedded.running_services(Path(folder))
        postgres = embedded.start_postgres(Path(folder), services)
        valkey = embedded.start_valkey(Path(folder), services)
        try:
            import omarino.wsgi  # noqa: F401  all that a web process has

            yield
            from django.db import connections

            connections.close_all()
        finally:
            embedded.stop(valkey)
            embedded.stop(postgres)


def fill(tenant: str) -> None:
    from benchmarks.serving import trained
    from omarino.authentication import Principal
    from omarino.permissions import ROLES
    from registry.models import Stage
    from tests.factories import make_readings, make_version, make_weather

    who = Principal(tenant, tenant, ROLES, tenant)
    artifact = trained().model_to_string().encode()
    make_version(who, name="bench", artifact=artifact, stage=Stage.PRODUCTION)
    hours = 40 * 24
    make_readings(who, np.arange(hours * 4) % 96.0, asset_id="meter", interval_minutes=15)
    weather = ("temperature", "humidity", "solar_irradiance", "wind_speed")
    make_weather(who, {name: np.ones(hours) for name in weather}, asset_id="meter")


class Caller:
    """Asks as one tenant's program, through the WSGI application."""

    def __init__(self, tenant: str) -> None:
        from omarino.authentication import development_token
        from omarino.permissions import ROLES
        from omarino.wsgi import application

        self.tenant = tenant
        self.token = development_token(tenant_id=tenant, roles=ROLES, ttl=timedelta(hours=1))
        self._application = application
        self.row = {f"f{index}": index / 10 for index in range(20)}

    def ask(self, method: str, address: str, body: dict[str, Any] | None = None) -> bytes:
        content = b"" if body is None else orjson.dumps(body)
        said: list[str] = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": address,
            "QUERY_STRING": "",
            "SCRIPT_NAME": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_HOST": "localhost",
            "HTTP_ACCEPT": "*/*",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_AUTHORIZATION": f"Bearer {self.token}",
            "wsgi.input": io.BytesIO(content),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
        }
        answer = b"".join(self._application(environ, lambda status, *_: said.append(status)))
        assert said == ["200 OK"], (said, answer)
        return answer

    def predict(self) -> bytes:
        return self.ask("POST", PREDICT.format(tenant=self.tenant), {"input": self.row})

    def features(self) -> bytes:
        at = (START + timedelta(days=30)).isoformat()
        asked = {"tenant_id": self.tenant, "asset_id": "meter", "timestamp": at, "feature_set": FEATURES}
        return self.ask("POST", "/ai/features/get", asked)

    def health(self) -> bytes:
        return self.ask("GET", "/health")


def microseconds(what: Callable[[], object]) -> float:
    """Processor time of one, the least of the rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            what()
        found.append((time.process_time() - began) / CALLS * 1e6)
    return min(found)


class Waits:
    """Counts how often this process waits for the database and for Valkey."""

    def __init__(self) -> None:
        import psycopg
        import redis.connection

        self.database = self.valkey = 0
        wait, read = psycopg.Connection.wait, redis.connection.AbstractConnection.read_response

        def counted_wait(connection: Any, *args: Any, **kwargs: Any) -> Any:
            self.database += 1
            return wait(connection, *args, **kwargs)

        def counted_read(connection: Any, *args: Any, **kwargs: Any) -> Any:
            self.valkey += 1
            return read(connection, *args, **kwargs)

        psycopg.Connection.wait = counted_wait  # type: ignore[method-assign]
        redis.connection.AbstractConnection.read_response = counted_read

    def of(self, what: Callable[[], object], times: int = 10) -> tuple[float, float]:
        what()
        before = self.database, self.valkey
        for _ in range(times):
            what()
        return (self.database - before[0]) / times, (self.valkey - before[1]) / times


def parts(caller: Caller) -> list[tuple[str, Callable[[], object]]]:
    from features import online
    from features.serializers import GetFeaturesRequestSerializer
    from omarino import authentication, limits
    from registry import prediction_serializers, resolving, serving
    from registry.models import Reference

    who = authentication.principal_of(caller.token)
    request = type("Asked", (), {"auth": who})
    budgets = limits.budgets_of(who, limits.LIGHT, 10_000_000)
    reference = Reference.parse(f"{caller.tenant}:bench:production")
    version = resolving.answering(tenant_id=caller.tenant, reference=reference)
    rows = serving.rows_of(version, [caller.row])
    body = {"tenant_id": caller.tenant, "asset_id": "meter", "feature_set": FEATURES}
    body["timestamp"] = (START + timedelta(days=30)).isoformat()

    def checked(serializer: Any, data: Any) -> Any:
        asked = serializer(data=data, context={"request": request})
        asked.is_valid(raise_exception=True)
        return asked

    question = checked(GetFeaturesRequestSerializer, body).question(caller.tenant)
    return [
        ("the token, proved before", lambda: authentication.principal_of(caller.token)),
        ("the token, read for the first time", lambda: authentication.verified(caller.token)),
        ("the rate limit", lambda: limits.spend(budgets)),
        (
            "the body of a prediction",
            lambda: checked(prediction_serializers.PredictRequestSerializer, {"input": caller.row}),
        ),
        (
            "which version answers",
            lambda: resolving.answering(tenant_id=caller.tenant, reference=reference),
        ),
        ("the row as an array", lambda: serving.rows_of(version, [caller.row])),
        ("the model", lambda: serving.predict(version, rows)),
        ("the body of a question for features", lambda: checked(GetFeaturesRequestSerializer, body)),
        (
            "features from the cache",
            lambda: online.get(tenant_id=caller.tenant, asset_id="meter", question=question),
        ),
    ]


def measured() -> tuple[list[tuple[str, float, float, float]], list[tuple[str, float]]]:
    with servers():
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        first, other = "first", "other"
        for tenant in (first, other):
            fill(tenant)
        one, two = Caller(first), Caller(other)
        waits = Waits()
        whole: list[tuple[str, Callable[[], object], int]] = [
            ("a prediction", one.predict, 1),
            ("features from the cache", one.features, 1),
            ("a prediction, two tenants in turn", lambda: (one.predict(), two.predict()), 2),
            ("GET /health, which asks nobody", one.health, 1),
        ]
        requests = []
        for name, ask, count in whole:
            database, valkey = waits.of(ask)
            requests.append((name, microseconds(ask) / count, database / count, valkey / count))
        return requests, [(name, microseconds(what)) for name, what in parts(one)]


def report(requests: list[tuple[str, float, float, float]], pieces: list[tuple[str, float]]) -> str:
    lines = [
        "# What a request costs",
        "",
        f"`make bench-request`, {datetime.now(UTC):%Y-%m-%d}. {machine()}. "
        f"Processor time of the web process alone, the "
        "least of many rounds; round trips it waits for.",
        "",
        "| Request | Processor µs | Asks PostgreSQL | Asks Valkey |",
        "|---|---|---|---|",
        *(
            f"| {name} | {took:.0f} | {database:g} | {valkey:g} |"
            for name, took, database, valkey in requests
        ),
        "",
        "| Part, measured alone | Processor µs |",
        "|---|---|",
        *(f"| {name} | {took:.0f} |" for name, took in pieces),
        "",
        "What is left of a request is the framework: middleware, routing, negotiation, headers.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="a Markdown file")
    options = parser.parse_args()
    text = report(*measured())
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
