"""PostgreSQL, the cache and the queue: the given ones, or those that `manage.py up` runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from redis.backoff import NoBackoff
from redis.retry import Retry

from omarino import embedded, logs
from omarino.settings.service import DATA_DIR, DEVELOPMENT, env, from_data_dir

env.group("PostgreSQL and Redis")

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
env.require(
    DEVELOPMENT or not DATABASE_IS_EMBEDDED,
    "DATABASE_URL must be set outside development: the embedded server is for one machine.",
)
env.require(
    DEVELOPMENT or not REDIS_IS_EMBEDDED,
    "REDIS_HOST must be set outside development: the embedded server is for one machine.",
)
_services = embedded.Services(0, "", 0, "")  # nothing is written where both are given
if DATABASE_IS_EMBEDDED or REDIS_IS_EMBEDDED:
    _services = from_data_dir(lambda: embedded.running_services(DATA_DIR), _services)


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
_broker = env.url(
    "CELERY_BROKER_URL",
    schemes=("redis", "rediss"),
    meaning="Queue, best a server of its own with `noeviction`; unset, database REDIS_DB + 1 of the cache's server",
)
CELERY_BROKER_URL = _broker or f"{_redis}/{REDIS_DB + 1}"

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
logs.keep_secret(
    [
        DATABASES["default"]["PASSWORD"],
        *(
            _redis_password,
            quote(_redis_password, safe=""),
        ),  # as it stands in the addresses of cache and queue
        urlsplit(_broker).password or "",
    ]
)
