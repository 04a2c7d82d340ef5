"""What the service says of a bad environment: every variable at once, by name, and no secret."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from omarino.env import Environment

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "k" * 50,
    "KEYCLOAK_URL": "https://id.example.org",
    "DATABASE_URL": "postgresql://hub:pa%2Fss@db.example.org:5433/hub?sslmode=require",
    "REDIS_HOST": "cache.example.org",
}


def start(data_dir: Path, show: str = "", **variables: str) -> tuple[int, str, str]:
    """Import the settings in a process of its own; print an expression of them."""
    return run(data_dir, f"from omarino import settings as s; print(({show or '0'},))", **variables)


def run(data_dir: Path, code: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(data_dir), **variables},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout.strip(), done.stderr


BEHIND_A_PROXY = """
import django
django.setup()
from django.test import Client
plain, proxied = Client(), Client(headers={"X-Forwarded-Proto": "https"})
print(proxied.get("/health").headers["Strict-Transport-Security"])
print(plain.get("/redoc").headers["Location"])
print(plain.get("/health").status_code)
"""


def test_behind_a_tls_proxy_browsers_are_kept_on_tls_and_probes_may_speak_http(tmp_path: Path) -> None:
    code, told, said = run(
        tmp_path,
        BEHIND_A_PROXY,
        **PRODUCTION,
        DJANGO_SETTINGS_MODULE="omarino.settings",
        BEHIND_TLS_PROXY="true",
        ALLOWED_HOSTS="testserver",
    )

    assert code == 0, said
    assert told.splitlines() == [
        "max-age=31536000; includeSubDomains; preload",
        "https://testserver/redoc",
        "200",
    ]


def test_every_bad_variable_is_named_at_once_and_no_secret_is_repeated(tmp_path: Path) -> None:
    code, _, said = start(
        tmp_path,
        ENVIRONMENT="production",
        PORT="eight",
        WEB_PROCESSES="0",
        WEB_THREADS="9" * 5000,
        LOG_LEVEL="LOUD",
        SECRET_KEY="short-secret",
        DATABASE_URL="mysql://hub:database-secret@db/hub",
        REDIS_HOST="redis://:redis-secret@cache:6379",
        REDIS_PORT="-1",
        REDIS_DB="1.5",
        CELERY_BROKER_URL="amqp://hub:broker-secret@queue",
        MINIO_ENDPOINT_URL="minio:9000",
        KEYCLOAK_URL="https:/id.example.org",
        JWT_ALGORITHM="none",
        FEATURE_CACHE_TTL="soon",
        MODEL_CACHE_SIZE="0",
        DEFAULT_FORECAST_HORIZON="169",
        DEFAULT_FORECAST_INTERVAL="14",
        ANOMALY_THRESHOLD="nan",
        SHAP_MAX_SAMPLES="9",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://",
        BEHIND_TLS_PROXY="yes",
    )

    assert code == 1
    message = said.partition("ImproperlyConfigured:")[2]
    for name in (
        *("PORT", "WEB_PROCESSES", "WEB_THREADS", "LOG_LEVEL", "SECRET_KEY", "DATABASE_URL", "REDIS_HOST"),
        *(
            "REDIS_PORT",
            "REDIS_DB",
            "CELERY_BROKER_URL",
            "MINIO_ENDPOINT_URL",
            "KEYCLOAK_URL",
            "JWT_ALGORITHM",
        ),
        *("FEATURE_CACHE_TTL", "MODEL_CACHE_SIZE", "DEFAULT_FORECAST_HORIZON", "DEFAULT_FORECAST_INTERVAL"),
        *("ANOMALY_THRESHOLD", "SHAP_MAX_SAMPLES", "OTEL_EXPORTER_OTLP_ENDPOINT", "BEHIND_TLS_PROXY"),
    ):
        assert f"{name} must" in message
    assert "secret@" not in said
    assert "short-secret" not in said
    assert "-secret" not in said


def test_production_wants_a_key_and_an_identity_provider_of_its_own(tmp_path: Path) -> None:
    code, _, said = start(tmp_path, ENVIRONMENT="production")

    assert code == 1
    assert "SECRET_KEY must be set to at least 50 random characters." in said
    assert "KEYCLOAK_URL must be set outside development" in said


def test_a_database_url_that_cannot_be_read_is_named_without_its_password(tmp_path: Path) -> None:
    for url in ("postgresql://hub:data%zzbase-secret@db/hub", "postgresql://hub:x@db/hub?pass-secret=1"):
        code, _, said = start(tmp_path, DATABASE_URL=url)

        assert code == 1
        assert "DATABASE_URL cannot be read" in said
        assert "secret" not in said


def test_production_reads_what_it_is_given_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "not-there"
    shown = (
        "s.DATABASES['default']['HOST'], s.DATABASES['default']['PASSWORD'], s.DATABASES['default']['OPTIONS']['sslmode'],"
        "s.CACHES['default']['LOCATION'], s.JWKS_URL, s.DEVELOPMENT_ISSUER, s.SESSION_COOKIE_SECURE, s.DEBUG"
    )

    code, said, errors = start(folder, shown, **PRODUCTION)

    assert (code, errors) == (0, "")
    assert said == str(
        (
            *("db.example.org", "pa/ss", "require", "redis://cache.example.org:6379/0"),
            "https://id.example.org/realms/omarino/protocol/openid-connect/certs",
            *(False, True, False),
        )
    )
    assert not folder.exists()


def test_a_password_of_any_characters_reaches_the_cache_whole(tmp_path: Path) -> None:
    code, said, _ = start(
        tmp_path,
        "__import__('redis').Redis.from_url(s.CACHES['default']['LOCATION']).connection_pool.connection_kwargs['password'], "
        "__import__('kombu').Connection(s.CELERY_BROKER_URL).password",
        **{**PRODUCTION, "REDIS_PASSWORD": "a/b@c:d#e?f%41 g"},
    )

    assert (code, said) == (0, str(("a/b@c:d#e?f%41 g", "a/b@c:d#e?f%41 g")))


def test_an_address_of_ipv6_reaches_the_cache(tmp_path: Path) -> None:
    code, said, _ = start(
        tmp_path, "s.CACHES['default']['LOCATION']", **{**PRODUCTION, "REDIS_HOST": "fd00::1"}
    )

    assert (code, said) == (0, "('redis://[fd00::1]:6379/0',)")


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, _, said = start(tmp_path / "file")

    assert code == 1
    assert f"DATA_DIR ({tmp_path / 'file'}) must be a folder we can write: " in said


def test_development_keeps_its_secrets_for_itself(tmp_path: Path) -> None:
    first, second = (start(tmp_path, "s.SECRET_KEY, s.DATABASES['default']['PASSWORD']") for _ in range(2))

    assert first == second
    assert first[0] == 0
    for name in ("secret_key", "admin_password", "services.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_variable_counts_as_unset(value: str) -> None:
    env = Environment({"A": value})

    assert env.integer("A", default=3, meaning="-") == 3
    assert env.url("A", schemes=["https"], meaning="-") == ""
    assert env.flag("A", default=True, meaning="-") is True
    assert env.text("A", default="x", choices=["x"], meaning="-") == "x"
    assert env.problems == []


@pytest.mark.parametrize(
    "value", ["-1", "1.0", "1e3", "0x10", "1_000", "\u0661", "\u00b2", "9" * 5000, "true", "10 1"]
)
def test_a_whole_number_is_plain_digits(value: str) -> None:
    env = Environment({"A": value})

    assert env.integer("A", default=3, meaning="-") == 3
    assert env.problems[0].startswith("A must be a whole number from 0")
    assert len(env.problems[0]) < 200


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1,5", "-0.1", "five", "1e13"])
def test_a_number_is_finite_and_in_range(value: str) -> None:
    env = Environment({"A": value})

    assert env.number("A", default=3.0, meaning="-") == 3.0
    assert env.problems == [f"A must be a number from 0.0 to 1000000000000.0, not {value!r}."]


@pytest.mark.parametrize(
    "value",
    [
        "http://",
        "http:///path",
        "http:/host",
        "host",
        "//host",
        "ftp://host",
        "http://host:port",
        "http://[::1",
    ],
)
def test_a_url_names_a_host_by_a_scheme_we_speak(value: str) -> None:
    env = Environment({"A": value})

    assert env.url("A", schemes=["http", "https"], meaning="-") == ""
    assert env.problems == ["A must be a URL that begins with http:// or https://."]
