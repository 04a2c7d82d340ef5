"""The service itself: what it is called, where it listens, its folder and its keys."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from omarino import embedded, logs
from omarino.env import Environment, parts

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parents[2]
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
ALLOWED_HOSTS = parts(
    env.text(
        "ALLOWED_HOSTS", default="localhost,127.0.0.1,[::1]", meaning="Host names this service answers to"
    )
)
CSRF_TRUSTED_ORIGINS = parts(
    env.text(
        "CSRF_TRUSTED_ORIGINS", meaning="Origins of the pages behind a proxy, such as https://hub.example.org"
    )
)
BEHIND_TLS_PROXY = env.flag(
    "BEHIND_TLS_PROXY",
    default=not DEVELOPMENT,
    shown="false in development, else true",
    meaning="A proxy ends TLS and sets X-Forwarded-Proto: cookies become secure, HTTP is redirected, HSTS is sent",
)


def _kept_secret(name: str, length: int = 48) -> str:
    """A secret of the development service, made on first use and kept."""
    path = DATA_DIR / name
    if not path.exists():
        embedded.write_private(path, secrets.token_urlsafe(length))
    return path.read_text()


def from_data_dir(read: Callable[[], Kept], otherwise: Kept) -> Kept:
    try:
        return read()
    except OSError as fault:
        env.require(False, f"DATA_DIR ({DATA_DIR}) must be a folder we can write: {fault.strerror}.")
        return otherwise


SECRET_KEY = env.secret(
    "SECRET_KEY", meaning="Signs sessions, seals the secrets of webhooks; required outside development"
)
if DEVELOPMENT and not SECRET_KEY:
    SECRET_KEY = from_data_dir(lambda: _kept_secret("secret_key"), "")
SECRET_KEY_FALLBACKS = parts(
    env.secret(
        "SECRET_KEY_FALLBACKS",
        meaning="Older ones, separated by commas: what they signed and sealed is still read",
    )
)
DEVELOPMENT_ADMIN_PASSWORD = (
    from_data_dir(lambda: _kept_secret("admin_password", 12), "") if DEVELOPMENT else ""
)
env.require(len(SECRET_KEY) >= 50, "SECRET_KEY must be set to at least 50 random characters.")
env.require(
    all(len(key) >= 50 for key in SECRET_KEY_FALLBACKS),
    "SECRET_KEY_FALLBACKS must be keys of at least 50 characters each.",
)
DEBUG = False  # tracebacks belong in the log, in development as well
logs.keep_secret([SECRET_KEY, *SECRET_KEY_FALLBACKS, DEVELOPMENT_ADMIN_PASSWORD])
