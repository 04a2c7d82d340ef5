"""An application of WSGI that shows what it is given, behind our front; granian runs it for `test_front`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import omarino.wsgi  # noqa: F401  starts Django, which the front asks about tokens and routes
from omarino.front import Front

PIECE = b"x" * 100_000


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    path = environ["PATH_INFO"]
    if path == "/sleep":
        time.sleep(float(environ["QUERY_STRING"]))
    if path == "/stream":
        pieces = int(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Length", str(pieces * len(PIECE)))])
        return Streamed(pieces)
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["refusal"] = getattr(environ.get("omarino.refusal"), "code", "")
    if not told["refusal"]:
        told["body"] = environ["wsgi.input"].read().decode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    )
    return [json.dumps(told).encode()]


class Streamed:
    def __init__(self, pieces: int) -> None:
        self._left = pieces

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._left):
            yield PIECE

    def close(self) -> None:
        print("closed", flush=True)  # noqa: T201  the test reads it


application = Front(echo, threads=1)
