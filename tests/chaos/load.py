"""Clients that ask all the while; each answer is counted by its kind, and what was promised is looked for afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle
from types import TracebackType
from typing import Any

import httpx

Question = tuple[str, str, dict[str, Any] | None]
FORECAST = {
    "tenant_id": "demo",
    "asset_id": "home-electricity-uk",
    "forecast_type": "load",
    "model_name": "seasonal_naive_v1",
}
FEATURES = {"tenant_id": "demo", "asset_id": "home-electricity-uk", "feature_set": "forecast_basic"}
QUESTIONS: list[Question] = [
    ("POST", "/ai/forecast", FORECAST),
    ("GET", "/ai/forecasts?limit=3", None),
    ("POST", "/ai/features/get", FEATURES),
    ("GET", "/ai/features/assets", None),
]
PAUSE_S = 0.02  # between two questions of a client: the machine has other work


class Load:
    """`with Load(...) as load:` some clients ask, each one question after the other, until the block ends."""

    def __init__(
        self,
        address: str,
        token: str,
        *,
        clients: int = 4,
        more: Sequence[Question] = (),
        timeout_s: float = 30.0,
    ) -> None:
        self.kinds: Counter[str] = Counter()  # "200", "503", ..., "refused", "cut off", "no answer"
        self.codes: Counter[str] = Counter()  # of problems, such as "database_unavailable"
        self.forecasts: list[str] = []  # ids that somebody was given
        self.unsaid: list[str] = []  # 503 that do not say when to come again
        self.slowest_s = 0.0
        self._last_failure = -1.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._told = (address, token, timeout_s)
        self._questions = [*QUESTIONS, *more]
        turns = cycle(range(len(self._questions)))
        self._threads = [
            threading.Thread(target=self._ask, args=(next(turns),), daemon=True) for _ in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait_until(lambda: self.kinds["200"] >= 2 * len(self._threads))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def requests(self) -> int:
        return self.kinds.total()

    @property
    def errors(self) -> dict[str, int]:
        return {kind: count for kind, count in sorted(self.kinds.items()) if not kind.startswith("2")}

    def failed_for(self, since: float) -> float:
        """Seconds from a `time.monotonic()` until the last failure."""
        return max(self._last_failure - since, 0.0)

    def until_steady(self, *, quiet_s: float = 1.5, patience_s: float = 60.0) -> None:
        """Until nothing has failed for a while and all is asked as before."""
        count = self.kinds["200"]
        self.wait_until(
            lambda: (
                time.monotonic() - self._last_failure > quiet_s
                and self.kinds["200"] >= count + 4 * len(self._threads)
            ),
            patience_s,
        )

    def wait_until(self, holds: Callable[[], object], patience_s: float = 60.0) -> None:
        deadline = time.monotonic() + patience_s
        while not holds():
            assert time.monotonic() < deadline, f"It did not come to pass: {dict(self.kinds)}, {self.codes}"
            time.sleep(0.02)

    def _ask(self, first: int) -> None:
        address, token, timeout_s = self._told
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=timeout_s) as client:
            for method, path, body in cycle([*self._questions[first:], *self._questions[:first]]):
                if self._over.wait(PAUSE_S):
                    return
                began = time.monotonic()
                try:
                    answer = client.request(method, path, json=body)
                except httpx.TimeoutException:
                    self._count("no answer", began)
                except httpx.ConnectError:
                    self._count("refused", began)
                except httpx.TransportError:
                    self._count("cut off", began)
                else:
                    self._count(str(answer.status_code), began, answer)

    def _count(self, kind: str, began: float, answer: httpx.Response | None = None) -> None:
        now = time.monotonic()
        with self._lock:
            self.slowest_s = max(self.slowest_s, now - began)
            self.kinds[kind] += 1
            if not kind.startswith("2"):
                self._last_failure = now
            if answer is None:
                return
            if answer.is_success and answer.request.url.path == "/ai/forecast":
                self.forecasts.append(answer.json()["forecast_id"])
            if not answer.is_success and answer.headers["Content-Type"] == "application/problem+json":
                self.codes[answer.json()["code"]] += 1
            if answer.status_code == 503 and "Retry-After" not in answer.headers:
                self.unsaid.append(answer.text)
