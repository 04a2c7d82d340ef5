"""The shape of a log line: one JSON object an event, the same for our lines and the libraries', no secret in it.

Imports no settings: the web server formats its own lines by this before there are any.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import orjson
import structlog

FIRST = (
    *("timestamp", "level", "event", "tenant_id", "asset_id", "model_name", "horizon_hours", "latency_ms"),
    *("request_id", "trace_id"),
)
HIDDEN = "[hidden]"
TOKEN = re.compile(r"eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)*")  # of a JWT, whoever made it
CREDENTIALS = re.compile(
    r"(?i)(://[^\s:/@]*:)[^\s/@]+(?=@)"  # redis://:password@
    r"|\b((?:Bearer|Basic)\s+)[\w.~+/=-]{6,}"
    r"|(?<![\w-])((?:password|passwd|secret|token|api[_-]?key|X-Amz-Signature)"
    r"(?:=|\\*[\"']\s*:\s*\\*[\"']))[^\s\"'&,}\\]{3,}"
)
CHATTERS = ("boto3", "botocore", "s3transfer", "urllib3", "parso", "asyncio")  # their DEBUG repeats headers
Line = MutableMapping[str, Any]
Processor = Callable[[Any, str, Line], Line]
FOREIGN_ONLY = structlog.stdlib.ExtraAdder()  # `extra=` of the standard library's loggers

_secrets: list[str] = []


def keep_secret(values: Iterable[str]) -> None:
    """Hide these wherever they turn up. What is shorter than eight characters would hide words."""
    known = {*_secrets, *(value for value in values if len(value) >= 8)}
    _secrets[:] = sorted(known, key=len, reverse=True)


def in_order(_: Any, __: str, line: Line) -> Line:
    """What every line has stands first, in one order; the level as a word in capitals."""
    line["level"] = str(line.get("level", "info")).upper()
    return {name: line[name] for name in FIRST if name in line} | {
        name: value for name, value in line.items() if name not in FIRST
    }


def rendered(_: Any, __: str, line: Line) -> str:
    """A second wall: whoever logs a secret by mistake, it does not reach the file."""
    text = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    text = TOKEN.sub(HIDDEN, text) if "eyJ" in text else text
    return CREDENTIALS.sub(_without_value, text)


def _without_value(found: re.Match[str]) -> str:
    return next((kept for kept in found.groups() if kept), "") + HIDDEN


def with_trace(trace_id: Callable[[], str | None]) -> Processor:
    """Adds the trace that is open, unless the caller's stands there."""

    def add(_: Any, __: str, line: Line) -> Line:
        if found := trace_id():
            line["trace_id"] = found
        return line

    return add


def fields(*more: Processor) -> list[Any]:
    """The processors that make the fields of a line."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        FOREIGN_ONLY,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        *more,
        structlog.processors.format_exc_info,
    ]


def formatter(more: Iterable[Processor] = ()) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=fields(*more),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, in_order, rendered],
    )
