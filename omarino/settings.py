"""Every setting, read once. The rest of the code says `settings.X`; docs/configuration.md is made from here."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import django_stubs_ext
import structlog
from botocore.config import Config
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from redis.backoff import NoBackoff
from redis.retry import Retry

from omarino import embedded, logs, tracing
from omarino.env import Environment

django_stubs_ext.monkeypatch()  # lets `ModelAdmin[Asset]` name its model, as mypy wants it

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ)
Kept = TypeVar("Kept")

env.group("The service")

SERVICE_NAME = env.text("SERVICE_NAME", default="ai-hub", meaning="Name in health answers and logs")
ENVIRONMENT = env.text(
    "ENVIRONMENT",
    default="development",
    choices=("development", "staging", "production"),
    meaning="Outside development secrets must be given, and no development token is accepted",
)
DEVELOPMENT = ENVIRONMENT == "development"
LOG_LEVEL = env.text(
    "LOG_LEVEL",
    default="INFO",
    choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    meaning="Least severe line logged",
)
PORT = env.integer("PORT", default=8003, minimum=1, maximum=65535, meaning="Port of the web server")
HOST = env.text(
    "HOST",
    default="127.0.0.1" if DEVELOPMENT else "0.0.0.0",  # noqa: S104  in a container: all of its own addresses
    shown="127.0.0.1 in development, else 0.0.0.0",
    meaning="Address the web server binds",
)
WEB_PROCESSES = env.integer(
    "WEB_PROCESSES", default=2, minimum=1, maximum=256, meaning="Web server processes"
)
WEB_THREADS = env.integer(
    "WEB_THREADS", default=4, minimum=1, maximum=256, meaning="Threads in each web process"
)
WORKER_PROCESSES = env.integer(
    "WORKER_PROCESSES", default=2, minimum=1, maximum=256, meaning="Celery processes"
)
DATA_DIR = Path(
    env.text(
        "DATA_DIR",
        default=str(BASE_DIR / ".data"),
        shown=".data",
        meaning="Folder of the embedded servers and local files",
    )
).resolve()
ALLOWED_HOSTS = [
    host.strip()
    for host in env.text(
        "ALLOWED_HOSTS", default="localhost,127.0.0.1,[::1]", meaning="Host names this service answers to"
    ).split(",")
]
CSRF_TRUSTED_ORIGINS = [
    origin.strip()
    for origin in env.text(
        "CSRF_TRUSTED_ORIGINS", meaning="Origins of the pages behind a proxy, such as https://hub.example.org"
    ).split(",")
    if origin.strip()
]
BEHIND_TLS_PROXY = env.flag(
    "BEHIND_TLS_PROXY",
    default=not DEVELOPMENT,
    shown="false in development, else true",
    meaning="A proxy ends TLS and sets X-Forwarded-Proto: cookies become secure, HTTP is redirected, HSTS is sent",
)


def _origin(url: str) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


def _kept_secret(name: str, length: int = 48) -> str:
    """A secret of the development service, made on first use and kept."""
    path = DATA_DIR / name
    if not path.exists():
        embedded.write_private(path, secrets.token_urlsafe(length))
    return path.read_text()


def tracing_is_installed() -> bool:
    """Whether all of the extra `otel` is there; the interface alone may come with another package."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _from_data_dir(read: Callable[[], Kept], otherwise: Kept) -> Kept:
    try:
        return read()
    except OSError as fault:
        env.require(False, f"DATA_DIR ({DATA_DIR}) must be a folder we can write: {fault.strerror}.")
        return otherwise


SECRET_KEY = env.secret(
    "SECRET_KEY", meaning="Signs sessions, seals the secrets of webhooks; required outside development"
)
if DEVELOPMENT and not SECRET_KEY:
    SECRET_KEY = _from_data_dir(lambda: _kept_secret("secret_key"), "")
SECRET_KEY_FALLBACKS = [
    key.strip()
    for key in env.secret(
        "SECRET_KEY_FALLBACKS",
        meaning="Older ones, separated by commas: what they signed and sealed is still read",
    ).split(",")
    if key.strip()
]
DEVELOPMENT_ADMIN_PASSWORD = (
    _from_data_dir(lambda: _kept_secret("admin_password", 12), "") if DEVELOPMENT else ""
)
env.require(len(SECRET_KEY) >= 50, "SECRET_KEY must be set to at least 50 random characters.")
env.require(
    all(len(key) >= 50 for key in SECRET_KEY_FALLBACKS),
    "SECRET_KEY_FALLBACKS must be keys of at least 50 characters each.",
)
DEBUG = False  # tracebacks belong in the log, in development as well

env.group("PostgreSQL and Redis")  # the given ones, or those that `manage.py up` runs

DATABASE_URL = env.url(
    "DATABASE_URL",
    schemes=("postgresql", "postgres"),
    meaning="PostgreSQL; unset, `manage.py up` runs its own",
)
DATABASE_IS_EMBEDDED = not DATABASE_URL
REDIS_HOST = env.text("REDIS_HOST", meaning="Redis or Valkey; unset, `manage.py up` runs its own")
REDIS_IS_EMBEDDED = not REDIS_HOST
env.require(
    not set("/@?# ") & set(REDIS_HOST) and REDIS_HOST.count(":") != 1,
    "REDIS_HOST must be a host name or an address alone; the port is REDIS_PORT, the password REDIS_PASSWORD.",
)
_services = embedded.Services(0, "", 0, "")  # nothing is written where both are given
if DATABASE_IS_EMBEDDED or REDIS_IS_EMBEDDED:
    _services = _from_data_dir(lambda: embedded.running_services(DATA_DIR), _services)


def _read_database_url(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except ProgrammingError:  # its text repeats parts of the URL, a password among them
        env.require(
            False, "DATABASE_URL cannot be read: percent-encode special characters, check its options."
        )
        return {}


_database = _read_database_url(DATABASE_URL or _services.database_url)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "omarino.postgresql",
        "NAME": _database.pop("dbname", "omarino"),
        "USER": _database.pop("user", ""),
        "PASSWORD": _database.pop("password", ""),
        "HOST": _database.pop("host", ""),
        "PORT": _database.pop("port", ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": {
            "connect_timeout": 2,
            "options": "-c statement_timeout=60000 -c timezone=UTC",
            **_database,
        },
    }
}

_redis_host = REDIS_HOST or "127.0.0.1"
_redis_port = env.integer("REDIS_PORT", default=6379, minimum=1, maximum=65535, meaning="Its port")
_redis_password = env.secret("REDIS_PASSWORD", meaning="Its password")
REDIS_DB = env.integer("REDIS_DB", default=0, maximum=1_000_000, meaning="Database number of the cache")
if REDIS_IS_EMBEDDED:
    _redis_port, _redis_password = _services.redis_port, _services.redis_password
_redis = "".join(
    [
        "redis://",
        f":{quote(_redis_password, safe='')}@" if _redis_password else "",
        f"[{_redis_host}]" if ":" in _redis_host else _redis_host,
        f":{_redis_port}",
    ]
)
CELERY_BROKER_URL = (
    env.url(
        "CELERY_BROKER_URL",
        schemes=("redis", "rediss"),
        meaning="Queue, best a server of its own with `noeviction`; unset, database REDIS_DB + 1 of the cache's server",
    )
    or f"{_redis}/{REDIS_DB + 1}"
)

FEATURE_CACHE_TTL = env.integer(
    "FEATURE_CACHE_TTL", default=300, meaning="Seconds a computed feature is kept"
)
CACHES = {
    "default": {
        "BACKEND": "omarino.valkey.Cache",
        "LOCATION": f"{_redis}/{REDIS_DB}",
        "TIMEOUT": FEATURE_CACHE_TTL,
        "KEY_PREFIX": "omarino",
        "VERSION": 2,  # 1 held pickles
        "OPTIONS": {
            "serializer": "omarino.valkey.JSONSerializer",
            "socket_timeout": 0.2,
            "socket_connect_timeout": 0.2,
            "retry": Retry(
                NoBackoff(), 1
            ),  # once, for a connection that went stale; redis-py would wait seconds
        },
    }
}

env.group("Files")  # a folder, or a bucket when an endpoint is given

MINIO_ENDPOINT_URL = env.url(
    "MINIO_ENDPOINT_URL",
    schemes=("http", "https"),
    meaning="S3 endpoint of models and exports; unset: local folders",
)
_s3_key = env.secret("MINIO_ACCESS_KEY", meaning="S3 key")
_s3_secret = env.secret("MINIO_SECRET_KEY", meaning="S3 secret")
_aws_key = env.secret("AWS_ACCESS_KEY_ID", meaning="The S3 key by its AWS name, when the one above is unset")
_aws_secret = env.secret("AWS_SECRET_ACCESS_KEY", meaning="The S3 secret by its AWS name, likewise")
AWS_REGION = env.text("AWS_REGION", default="us-east-1", meaning="S3 region")
S3_SERVER_SIDE_ENCRYPTION = env.text(
    "S3_SERVER_SIDE_ENCRYPTION",
    choices=("AES256", "aws:kms"),
    meaning="Asks the S3 service to keep objects encrypted, by its own key or by one of its key service",
)
S3_KMS_KEY_ID = env.text("S3_KMS_KEY_ID", meaning="Which key of the key service; unset, its default")
S3_CA_BUNDLE = env.text(
    "S3_CA_BUNDLE", meaning="File of the authorities that the S3 endpoint's certificate is held against"
)
env.require(
    not S3_KMS_KEY_ID or S3_SERVER_SIDE_ENCRYPTION == "aws:kms",
    "S3_KMS_KEY_ID needs S3_SERVER_SIDE_ENCRYPTION=aws:kms.",
)
env.require(
    not S3_CA_BUNDLE or Path(S3_CA_BUNDLE).is_file(), f"S3_CA_BUNDLE: there is no file {S3_CA_BUNDLE}."
)
MODEL_STORAGE_BUCKET = env.text("MODEL_STORAGE_BUCKET", default="ml-models", meaning="S3 bucket")
MODEL_STORAGE_PATH = Path(
    env.text(
        "MODEL_STORAGE_PATH",
        default=str(DATA_DIR / "models"),
        shown=".data/models",
        meaning="Folder of models without S3",
    )
)
EXPORT_STORAGE_PATH = Path(
    env.text(
        "EXPORT_STORAGE_PATH",
        default=str(DATA_DIR / "exports"),
        shown=".data/exports",
        meaning="Folder of exports without S3",
    )
)
STATIC_ROOT = Path(
    env.text(
        "STATIC_ROOT",
        default=str(BASE_DIR / "staticfiles"),
        shown="staticfiles",
        meaning="Folder of collected static files",
    )
)


_encryption = {"ServerSideEncryption": S3_SERVER_SIDE_ENCRYPTION} if S3_SERVER_SIDE_ENCRYPTION else {}
if S3_KMS_KEY_ID:
    _encryption["SSEKMSKeyId"] = S3_KMS_KEY_ID


def _storage(folder: Path, prefix: str) -> dict[str, Any]:
    if not MINIO_ENDPOINT_URL:
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(folder)},
        }
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": MINIO_ENDPOINT_URL,
            "access_key": _s3_key or _aws_key,
            "secret_key": _s3_secret or _aws_secret,
            "region_name": AWS_REGION,
            "bucket_name": MODEL_STORAGE_BUCKET,
            "location": prefix,
            "file_overwrite": True,
            "verify": S3_CA_BUNDLE or None,  # None: the authorities that come with botocore; never False
            "object_parameters": _encryption,
            "max_memory_size": 16_777_216,  # of a file that is read; what is larger goes through a temporary one
            "client_config": Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=3,
                read_timeout=10,
                retries={"total_max_attempts": 2},
            ),
        },
    }


STORAGES = {
    "models": _storage(MODEL_STORAGE_PATH, "models"),
    "exports": _storage(EXPORT_STORAGE_PATH, "exports"),
    "default": _storage(DATA_DIR / "files", "files"),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

env.group("Identity")

KEYCLOAK_URL = env.url(
    "KEYCLOAK_URL",
    schemes=("http", "https"),
    meaning="Keycloak; unset (development only), the service trusts its own `manage.py token`",
).rstrip("/")
KEYCLOAK_REALM = env.text("KEYCLOAK_REALM", default="omarino", meaning="Its realm")
KEYCLOAK_CLIENT_ID = env.text(
    "KEYCLOAK_CLIENT_ID", default="omarino-ai-hub", meaning="Audience of our tokens"
)
KEYCLOAK_CLIENT_SECRET = env.secret(
    "KEYCLOAK_CLIENT_SECRET",
    meaning="Lets people sign in to the pages by Keycloak; outside development there is no other way in",
)
SIGN_IN_RENEWAL_SECONDS = env.integer(
    "SIGN_IN_RENEWAL_SECONDS",
    default=900,
    minimum=30,
    maximum=86_400,
    meaning="After so long the next page asks Keycloak anew, unseen; without pages a session ends after four times that",
)
JWT_ALGORITHM = env.text(
    "JWT_ALGORITHM", default="RS256", choices=("RS256", "ES256"), meaning="The one signature accepted"
)
JWT_REQUIRE_NBF = env.flag(
    "JWT_REQUIRE_NBF",
    default=False,
    meaning="Refuse tokens without `nbf`, which Keycloak leaves out since its version 10; where it stands it is checked",
)
DEVELOPMENT_ISSUER = DEVELOPMENT and not KEYCLOAK_URL
JWT_ISSUER = f"{KEYCLOAK_URL}/realms/{KEYCLOAK_REALM}" if KEYCLOAK_URL else "urn:omarino:development"
JWKS_URL = f"{JWT_ISSUER}/protocol/openid-connect/certs" if KEYCLOAK_URL else ""
JWT_LEEWAY = timedelta(seconds=10)
SIGN_IN_BY_PROVIDER = bool(KEYCLOAK_URL and KEYCLOAK_CLIENT_SECRET)
SIGN_IN_BY_PASSWORD = DEVELOPMENT
CORS_ALLOWED_ORIGINS = [
    origin.strip()
    for origin in env.text(
        "CORS_ALLOWED_ORIGINS",
        meaning="Origins whose pages may call the API with a token, such as https://portal.example.org; unset, none",
    ).split(",")
    if origin.strip()
]
env.require(
    DEVELOPMENT or not DATABASE_IS_EMBEDDED,
    "DATABASE_URL must be set outside development: the embedded server is for one machine.",
)
env.require(
    DEVELOPMENT or not REDIS_IS_EMBEDDED,
    "REDIS_HOST must be set outside development: the embedded server is for one machine.",
)
env.require(
    DEVELOPMENT or bool(KEYCLOAK_URL),
    "KEYCLOAK_URL must be set outside development: there is no other issuer.",
)
env.require(
    not DEVELOPMENT_ISSUER or JWT_ALGORITHM == "RS256",
    "JWT_ALGORITHM must be RS256 without KEYCLOAK_URL: development tokens are signed by RS256.",
)

env.group("Defaults and limits")

DEFAULT_FORECAST_HORIZON = env.integer(
    "DEFAULT_FORECAST_HORIZON",
    default=24,
    minimum=1,
    maximum=168,
    meaning="`horizon_hours` when not asked for",
)
DEFAULT_FORECAST_INTERVAL = env.integer(
    "DEFAULT_FORECAST_INTERVAL",
    default=60,
    minimum=15,
    maximum=1440,
    meaning="`interval_minutes` when not asked for",
)
FORECAST_HISTORY_KEPT_DAYS = env.integer(
    "FORECAST_HISTORY_KEPT_DAYS",
    default=30,
    minimum=0,
    maximum=3_650,
    meaning="How long a history sent with a forecast's request is kept, so that the forecast can be explained: about "
    "6 bytes a value; 0 keeps none",
)
FORECAST_RESCORED_DAYS = env.integer(
    "FORECAST_RESCORED_DAYS",
    default=7,
    minimum=1,
    maximum=90,
    meaning="Days back that forecasts are scored again, so that late and corrected readings count",
)
DRIFT_COVERAGE = env.number(
    "DRIFT_COVERAGE",
    default=0.15,
    minimum=0.01,
    maximum=0.8,
    meaning="How far the share of outcomes inside p10..p90 may be from 0.8, over two weeks, before a flag is raised",
)
DRIFT_STABILITY_INDEX = env.number(
    "DRIFT_STABILITY_INDEX",
    default=0.5,
    minimum=0.05,
    maximum=100,
    meaning="Population stability index of four weeks of readings against the four before that raises a flag",
)
ANOMALY_THRESHOLD = env.number(
    "ANOMALY_THRESHOLD", default=3.0, minimum=1.0, maximum=5.0, meaning="`sensitivity` when not asked for"
)
SHAP_MAX_SAMPLES = env.integer(
    "SHAP_MAX_SAMPLES", default=100, minimum=10, maximum=1000, meaning="`max_samples` when not asked for"
)
MODEL_CACHE_SIZE = env.integer(
    "MODEL_CACHE_SIZE", default=10, minimum=1, meaning="Models kept loaded in a process"
)
MODEL_CACHE_TTL = env.integer("MODEL_CACHE_TTL", default=3600, meaning="Seconds an unused model stays loaded")
MODEL_CACHE_BYTES = env.integer(
    "MODEL_CACHE_BYTES",
    default=1_073_741_824,
    maximum=2**50,
    meaning="Memory of the models kept loaded in a process; one larger than that is loaded alone",
)
MODEL_MAX_BYTES = env.integer(
    "MODEL_MAX_BYTES", default=536_870_912, minimum=1, maximum=2**40, meaning="Largest artifact taken"
)
MODEL_INSPECTION_SECONDS = env.integer(
    "MODEL_INSPECTION_SECONDS",
    default=60,
    minimum=5,
    maximum=3600,
    meaning="Processor time in which an uploaded artifact must open, in a process of its own",
)
MODEL_INSPECTION_MEMORY_MB = env.integer(
    "MODEL_INSPECTION_MEMORY_MB", default=4096, minimum=512, meaning="Address space of that process"
)
MODEL_RUNNER_SECONDS = env.integer(
    "MODEL_RUNNER_SECONDS",
    default=30,
    minimum=1,
    maximum=600,
    meaning="Time in which a model that holds code (Keras, PyTorch), in a process of its own, must answer",
)
MODEL_RUNNER_MEMORY_MB = env.integer(
    "MODEL_RUNNER_MEMORY_MB", default=4096, minimum=512, meaning="Address space of that process"
)
EXPORT_KEEP_DAYS = env.integer(
    "EXPORT_KEEP_DAYS",
    default=30,
    maximum=36_500,
    meaning="Days an export is kept after its end, then deleted with its file; 0: for ever",
)
MLFLOW_UPLOAD_KEEP_DAYS = env.integer(
    "MLFLOW_UPLOAD_KEEP_DAYS",
    default=30,
    maximum=36_500,
    meaning="Days after which a run or logged model of an MLflow client that was never finished goes, with its files; 0: for ever",
)

JOB_LEASE_SECONDS = env.integer(
    "JOB_LEASE_SECONDS",
    default=60,
    minimum=4,
    maximum=3600,
    meaning="Of a worker that was not heard of for so long, a long work is another's; also, how soon a lost message is sent anew",
)
RATE_LIMIT_LIGHT = env.integer(
    "RATE_LIMIT_LIGHT",
    default=6000,
    maximum=10_000_000,
    meaning="Requests a minute of one subject on light routes (reading, single predictions); 0 for no limit",
)
RATE_LIMIT_HEAVY = env.integer(
    "RATE_LIMIT_HEAVY",
    default=1200,
    maximum=10_000_000,
    meaning="Requests a minute of one subject on heavy routes (what makes or stores something); 0 for no limit",
)
RATE_LIMIT_TENANT_FACTOR = env.integer(
    "RATE_LIMIT_TENANT_FACTOR",
    default=5,
    minimum=1,
    maximum=10_000,
    meaning="How many times as much all subjects of a tenant have together",
)

MIN_TRAINING_SAMPLES = env.integer(
    "MIN_TRAINING_SAMPLES", default=100, minimum=20, meaning="Rows a device's detector learns from at least"
)
RETRAIN_INTERVAL_HOURS = env.integer(
    "RETRAIN_INTERVAL_HOURS",
    default=24,
    minimum=1,
    meaning="Age at which a device's detector is trained anew",
)


def _hours_between(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text)
    first, until = (int(found[1]), int(found[2])) if found else (24, 24)
    env.require(first < 24 and until < 25, "RETRAIN_OFF_PEAK must be hours of the day such as 22-5.")
    return first, until


RETRAIN_OFF_PEAK = _hours_between(
    env.text("RETRAIN_OFF_PEAK", default="22-5", meaning="Hours (UTC) in which that is done")
)

env.group("Webhooks")  # of watched assets


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as fault:
        env.require(False, f"WEBHOOK_PRIVATE_NETWORKS must be networks such as 10.1.0.0/16: {fault}.")
        return []


WEBHOOK_PRIVATE_NETWORKS = _networks(
    env.text(
        "WEBHOOK_PRIVATE_NETWORKS",
        meaning="Networks of one's own that webhooks may reach, such as 10.1.0.0/16; then http:// is taken as well",
    )
)
WEBHOOK_CA_BUNDLE = env.text(
    "WEBHOOK_CA_BUNDLE", meaning="File of the authorities that receivers' certificates may come from"
)

env.group("Metrics and traces")

METRICS_TOKEN = env.secret(
    "METRICS_TOKEN", meaning="What `GET /metrics` wants as a bearer token; unset, it answers everybody"
)
METRICS_DIR = env.text(
    "PROMETHEUS_MULTIPROC_DIR",
    shown="DATA_DIR/metrics by `manage.py up`, /data/metrics in the image",
    meaning="Folder in which the processes of one machine count; not shared between machines or containers",
)
WORKER_METRICS_PORT = env.integer(
    "WORKER_METRICS_PORT",
    default=0,
    maximum=65535,
    meaning="Port on which a Celery worker serves its metrics, where it shares no folder with a web server; 0 for none",
)
OTEL_EXPORTER_OTLP_ENDPOINT = env.url(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    schemes=("http", "https"),
    meaning="OTLP receiver of traces, over HTTP, such as http://collector:4318; needs the extra `otel`",
)
OTEL_SERVICE_NAME = env.text(
    "OTEL_SERVICE_NAME", default=SERVICE_NAME, shown="SERVICE_NAME", meaning="Our name in traces"
)
env.require(
    not OTEL_EXPORTER_OTLP_ENDPOINT or tracing_is_installed(),
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra otel is not installed: install requirements/otel.txt, or "
    "build the image with --build-arg REQUIREMENTS=otel.txt, or leave the variable out.",
)

env.group("Retention")

RETENTION = env.flag(
    "RETENTION",
    default=False,
    meaning="Delete what is older than the days below; off, everything is kept",
)
RETENTION_READINGS_DAYS = env.integer(
    "RETENTION_READINGS_DAYS",
    default=7,
    minimum=3,
    maximum=36_500,
    meaning="Readings; 8 hold every feature, 366 what forecasts learn from",
)
RETENTION_FEATURES_DAYS = env.integer(
    "RETENTION_FEATURES_DAYS", default=90, minimum=3, maximum=36_500, meaning="Rows of ai_features"
)
RETENTION_WEATHER_DAYS = env.integer(
    "RETENTION_WEATHER_DAYS", default=365, minimum=3, maximum=36_500, meaning="Weather"
)
RETENTION_HOURLY_DAYS = env.integer(
    "RETENTION_HOURLY_DAYS", default=365, minimum=3, maximum=36_500, meaning="Hours of hourly_features"
)
RETENTION_DAILY_DAYS = env.integer(
    "RETENTION_DAILY_DAYS", default=730, minimum=3, maximum=36_500, meaning="Days of daily_features"
)

if env.problems:
    raise ImproperlyConfigured("\n".join(env.problems))
VARIABLES = tuple(env.variables)  # what `manage.py describe_settings` prints

# Django

INSTALLED_APPS = [
    "omarino",
    "features",
    "registry",
    "forecasting",
    "anomalies",
    "explanations",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "corsheaders",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "omarino.metrics.RequestMetricsMiddleware",
    "omarino.edge.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "omarino.policy.PolicyMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "omarino.limits.RateLimitHeaders",
    "omarino.edge.EdgeMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "omarino.asking.AskingMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "omarino.login.Renewal",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "omarino.problems.OutageMiddleware",
]
ROOT_URLCONF = "omarino.urls"
WSGI_APPLICATION = "omarino.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "omarino.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    *(["omarino.login.IdentityProvider"] if SIGN_IN_BY_PROVIDER or not SIGN_IN_BY_PASSWORD else []),
    *(["django.contrib.auth.backends.ModelBackend"] if SIGN_IN_BY_PASSWORD else []),
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "admin:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440  # of forms; the API's own limits stand beside its views
TEST_RUNNER = "django.test.runner.DiscoverRunner"

# Signing in by Keycloak, see omarino/login.py; the names are mozilla-django-oidc's

OIDC_RP_CLIENT_ID = KEYCLOAK_CLIENT_ID
OIDC_RP_CLIENT_SECRET = KEYCLOAK_CLIENT_SECRET
OIDC_RP_SIGN_ALGO = JWT_ALGORITHM
OIDC_RP_SCOPES = "openid profile"
OIDC_OP_AUTHORIZATION_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/auth"
OIDC_OP_TOKEN_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/token"
OIDC_OP_USER_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/userinfo"  # asked for by name, never called
OIDC_OP_LOGOUT_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/logout"
OIDC_OP_LOGOUT_URL_METHOD = "omarino.login.end_session_url"
OIDC_OP_JWKS_ENDPOINT = JWKS_URL
OIDC_USE_PKCE = True
OIDC_TIMEOUT = 5
OIDC_EXEMPT_URLS = ["admin:login"]
OIDC_STORE_ID_TOKEN = True  # the provider wants it when somebody signs out
OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS = SIGN_IN_RENEWAL_SECONDS
SESSION_COOKIE_AGE = 43_200  # of who signed in by a password
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS_PROXY
SECURE_SSL_REDIRECT = BEHIND_TLS_PROXY
SECURE_REDIRECT_EXEMPT = [
    r"^health$",
    r"^api/health$",
    r"^health/detailed$",
    r"^metrics$",
]  # probes inside the cluster speak HTTP
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS_PROXY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS_PROXY
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS_PROXY else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # browsers hold this against where a form's answer sends them too: signing out, and being asked anew
        "form-action": [SELF, *([_origin(KEYCLOAK_URL)] if KEYCLOAK_URL else [])],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

CORS_URLS_REGEX = r"^/(ai/|openapi\.json$)"
CORS_ALLOW_CREDENTIALS = False  # a token, never the cookie of the pages
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "x-request-id", "x-tenant-id", "traceparent"]
CORS_EXPOSE_HEADERS = [
    *("Retry-After", "X-Request-ID", "Content-Disposition"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"),
]
CORS_PREFLIGHT_MAX_AGE = 600

# The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "omarino.authentication.BearerAuthentication",
        "omarino.authentication.SignedInAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["omarino.permissions.Closed"],
    "DEFAULT_THROTTLE_CLASSES": ["omarino.limits.RateLimit"],
    "DEFAULT_PARSER_CLASSES": ["omarino.api.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["omarino.api.JSONRenderer", "omarino.api.BrowsableRenderer"],
    "DEFAULT_PAGINATION_CLASS": "omarino.api.Pagination",
    "DEFAULT_SCHEMA_CLASS": "omarino.openapi.Schema",
    "EXCEPTION_HANDLER": "omarino.problems.handle_exception",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OMARINO AI Hub",
    "DESCRIPTION": "Forecasts with honest uncertainty, for the people who run energy sites.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/ai",
    "ENUM_NAME_OVERRIDES": {
        "StageEnum": "registry.models.Stage",
        "JobStatusEnum": "omarino.jobs.JobStatus",
        "SeverityEnum": "anomalies.models.Severity",
    },
}

# The queue: a wake-up only, the rows are the truth. A task longer than the visibility timeout would be
# started again, so the hard limit lies below it; the sweep of unacknowledged messages is every 10 s.

CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 3300
CELERY_TASK_SOFT_TIME_LIMIT = 3240
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "retry_on_timeout": True,
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "omarino.beat.SteadyScheduler"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep-jobs": {
        "task": "omarino.sweep_jobs",
        "schedule": JOB_LEASE_SECONDS / 4,
        "options": {"expires": JOB_LEASE_SECONDS / 4},
    },
    "anchor-audit": {"task": "omarino.anchor_audit", "schedule": 300.0, "options": {"expires": 300.0}},
    "sweep-exports": {"task": "features.sweep_exports", "schedule": 900.0, "options": {"expires": 900.0}},
    "refresh-feature-views": {
        "task": "features.refresh_views",
        "schedule": 900.0,
        "options": {"expires": 900.0},
    },
    "store-features": {"task": "features.store_features", "schedule": 3600.0, "options": {"expires": 3600.0}},
    "score-forecasts": {
        "task": "forecasting.score_forecasts",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "drop-sent-histories": {
        "task": "forecasting.drop_sent_histories",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "retrain-detectors": {
        "task": "anomalies.retrain_what_is_due",
        "schedule": 900.0,
        "options": {"expires": 900.0},
    },
    "look-at-watches": {
        "task": "anomalies.look_at_what_is_due",
        "schedule": 30.0,
        "options": {"expires": 30.0},
    },
    "forget-sessions": {
        "task": "omarino.forget_sessions",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "expire-mlflow-uploads": {
        "task": "registry.expire_uploads",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "expire-readings": {"task": "features.expire", "schedule": 3600.0, "options": {"expires": 3600.0}},
}

# Logs: one JSON object a line, ours and the libraries'

logs.keep_secret(
    [
        *(SECRET_KEY, *SECRET_KEY_FALLBACKS, DEVELOPMENT_ADMIN_PASSWORD),
        *(METRICS_TOKEN, KEYCLOAK_CLIENT_SECRET),
        *(DATABASES["default"]["PASSWORD"], _redis_password, urlsplit(CELERY_BROKER_URL).password or ""),
        *(_s3_secret, _aws_secret),
    ]
)
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *(step for step in logs.fields(logs.with_trace(tracing.trace_id)) if step is not logs.FOREIGN_ONLY),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": logs.formatter, "more": [logs.with_trace(tracing.trace_id)]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "ERROR"},  # a refused request is the caller's business, not an operator's
        "django.security": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # scanners try names all day
        "celery.worker.strategy": {"level": "WARNING"},  # a line for each message; works tell themselves
        "celery.app.trace": {"level": "WARNING"},
        **{name: {"level": "INFO" if LOG_LEVEL == "DEBUG" else LOG_LEVEL} for name in logs.CHATTERS},
    },
}
