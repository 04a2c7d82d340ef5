"""JSON as we take it: what two readers could understand in two ways is refused. No framework here."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, Never

import orjson

from omarino.errors import MalformedBody

MAX_DEPTH = 40


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, finite numbers, no repeated names, no NUL, no lone surrogate, at most 40 levels.

    Whole numbers beyond 64 bits become floats.

    >>> parse_json(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    omarino.errors.MalformedBody: The body cannot be read: the name 'a' appears twice in one object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise MalformedBody(reason=_reason(fault)) from fault
    escaped = body.replace(b"\\\\", b"") if b"\\" in body else b""  # what is left of `\` begins an escape
    if b"\\u0000" in escaped:
        raise MalformedBody(reason="a text holds a NUL")
    quotes = escaped.count(b'"') - escaped.count(b'\\"') if escaped else body.count(b'"')
    if quotes != 2 * _count_texts(value):  # orjson keeps the last of two equal names, so a text is missing
        _name_what_appears_twice(body)
    return value


def _count_texts(value: Any) -> int:
    """How many texts a value holds, names included; level by level, as recursion and per-point calls are slow."""
    texts = int(isinstance(value, str))
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise MalformedBody(reason=f"it is nested more than {MAX_DEPTH} levels deep")
        objects = [part for part in level if type(part) is dict]
        lists = [part for part in level if type(part) is list]
        parts = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(lists)]
        texts += sum(map(len, objects)) + list(map(type, parts)).count(str)
        level = [part for part in parts if type(part) is dict or type(part) is list]
    return texts


def _name_what_appears_twice(body: bytes) -> Never:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedBody(reason=f"the name {name[:50]!r} appears twice in one object")
            seen.add(name)

    try:
        json.loads(body, object_pairs_hook=unique, parse_int=len, parse_float=len)
    except RecursionError:
        raise MalformedBody(reason=f"it is nested more than {MAX_DEPTH} levels deep") from None
    raise MalformedBody(reason="a name appears twice in one object")


def _reason(fault: orjson.JSONDecodeError) -> str:
    if "depth limit" in fault.msg:
        return f"it is nested more than {MAX_DEPTH} levels deep"
    if "not valid UTF-8" in fault.msg:
        return "it is not UTF-8"
    if "infinity" in fault.msg:
        return "a number is too large"
    if "surrogate" in fault.msg:
        return "a text holds half a surrogate pair"
    for constant in ("NaN", "Infinity", "-Infinity"):
        if fault.doc.startswith(constant, fault.pos):
            return f"{constant} is not JSON; write null for a missing number"
    return f"it is not JSON ({fault.msg}, line {fault.lineno}, column {fault.colno})"
