"""The cache's server, for what Django's cache has no word for, and how its values are written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import redis
import structlog
from django.core.cache import caches
from django.core.cache.backends import redis as backend

SHUT_S = 5.0
log = structlog.get_logger(__name__)
AnswerT = TypeVar("AnswerT")


class JSONSerializer:
    """JSON in the cache: who can write there must not get our processes to run what he wrote, as pickle would."""

    def dumps(self, value: Any) -> bytes | int:
        return value if type(value) is int else orjson.dumps(value)  # INCR wants it bare

    def loads(self, data: bytes) -> Any:
        return orjson.loads(data)


class KeptClient(backend.RedisCacheClient):
    """Makes the library's client once and not for every command, which costs more than the command does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clients: dict[int, Any] = {}

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        index = self._get_connection_pool_index(write)  # type: ignore[attr-defined]
        if index not in self._clients:
            self._clients[index] = super().get_client(key, write=write)
        return self._clients[index]


class Cache(backend.RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = KeptClient


class Door:
    """The way to Valkey for one purpose. After it did not answer it is left alone for some seconds: one line in the
    log when it goes, one when it is back, and nobody waits for a timeout in between."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self._shut_until: float | None = None

    def ask(self, question: Callable[[Any], AnswerT]) -> AnswerT | None:
        """The answer, or None while Valkey is away."""
        if self._shut_until is not None and time.monotonic() < self._shut_until:
            return None
        try:
            answer = question(client())
        except redis.RedisError as fault:
            if self._shut_until is None:
                log.warning("valkey_away", purpose=self.purpose, reason=type(fault).__name__)
            self._shut_until = time.monotonic() + SHUT_S
            return None
        if self._shut_until is not None:
            log.info("valkey_back", purpose=self.purpose)
            self._shut_until = None
        return answer

    def forget(self) -> None:
        self._shut_until = None


def client() -> Any:
    """A `redis.Redis` from the pool of Django's cache, with its timeouts; its annotations serve async clients too."""
    return caches["default"]._cache.get_client(write=True)  # type: ignore[attr-defined]
