"""Who was kept out: counted by the code of the answer, and of those whom nobody knows a few lines in the log.

Whoever is known is in the audit. A line has neither a part of a token nor an address: behind a proxy that is the proxy's.
"""

from __future__ import annotations

import threading
import time
from http import HTTPStatus

import structlog
from django.http import HttpRequest

from omarino.metrics import REFUSED

CODES = frozenset(
    {"not_authenticated", "authentication_failed", "permission_denied", "tenant_mismatch", "rate_limited"}
)
COUNTED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
LINES_A_MINUTE = 10
log = structlog.get_logger(__name__)


class FewLines:
    """At most so many a minute; the first of the next says how many were left out."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._since, self._said, self._left_out = time.monotonic(), 0, 0

    def left_out(self) -> int | None:
        """How many were left out before this one; None for one to leave out."""
        with self._lock:
            if time.monotonic() - self._since >= 60:
                self._since, self._said = time.monotonic(), 0
            if self._said >= self._most:
                self._left_out += 1
                return None
            self._said += 1
            found, self._left_out = self._left_out, 0
            return found

    def forget(self) -> None:
        self._since, self._said, self._left_out = time.monotonic(), 0, 0


LINES = FewLines(LINES_A_MINUTE)


def refused(request: HttpRequest, status: int, code: str, fault: Exception) -> None:
    if status not in COUNTED:
        return
    REFUSED.labels(code if code in CODES else "other").inc()
    if status == HTTPStatus.UNAUTHORIZED and (left_out := LINES.left_out()) is not None:
        # a library's sentence may repeat what it read, its class does not
        reason = type(fault.__cause__).__name__ if fault.__cause__ else str(fault)
        log.warning("access_refused", code=code, reason=reason, method=request.method, left_out=left_out)
