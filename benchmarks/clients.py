"""Callers of the whole product: tenants with readings, a device and a model, and clients who count what they are told.

A tenant's clients share its assets and its model in production; what one makes and deletes again is its own.
"""

from __future__ import annotations

import base64
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import lightgbm
import numpy as np

ASSETS, DAYS = 6, 60
NAMES = [f"f{index}" for index in range(8)]
OK = frozenset({200})
MAKES = frozenset({200, 201, 202, 204})
JSON = {"Content-Type": "application/json"}
ID = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)  # so that what is alike is counted as one
PATIENCE_S = 180
ODD = -1  # the status of a request that nobody answered


@dataclass(frozen=True)
class Tenant:
    name: str
    token: str  # of all roles
    reader: str  # of `ai_user` alone
    artifact: bytes

    @property
    def assets(self) -> list[str]:
        return [f"meter-{number}" for number in range(ASSETS)]

    @property
    def model(self) -> str:
        return f"{self.name}:site-load"


@dataclass
class Counted:
    """Of one family, by one client."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)


@dataclass
class Client:
    """One caller with a connection of its own, who asks one thing after the other."""

    tenant: Tenant
    number: int
    address: str
    password: str  # of the pages
    counted: dict[str, Counted] = field(default_factory=dict)
    made: int = 0
    exports: list[str] = field(default_factory=list)
    forecasts: list[str] = field(default_factory=list)
    detections: list[str] = field(default_factory=list)
    pages: httpx.Client | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.number)
        self.now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        headers = {"Authorization": f"Bearer {self.tenant.token}"}
        self.http = httpx.Client(base_url=self.address, headers=headers, timeout=PATIENCE_S)
        self.bare = httpx.Client(base_url=self.address, timeout=PATIENCE_S)

    def run(self, families: Families, over: threading.Event) -> None:
        names, weights = list(families), [weight for weight, _ in families.values()]
        while not over.is_set():
            (name,) = self.random.choices(names, weights)
            families[name][1](self, name)
        for client in (self.http, self.bare, self.pages):
            if client is not None:
                client.close()

    def ask(
        self,
        family: str,
        method: str,
        path: str,
        expected: frozenset[int] = OK,
        by: httpx.Client | None = None,
        **content: Any,
    ) -> httpx.Response:
        kept = self.counted.setdefault(family, Counted())
        began = time.perf_counter()
        try:
            answer = (by or self.http).request(method, path, **content)
        except httpx.TransportError as fault:
            answer = httpx.Response(500, text=type(fault).__name__)
            status = ODD
        else:
            status = answer.status_code
        kept.milliseconds.append((time.perf_counter() - began) * 1000)
        kept.statuses[status] += 1
        if status not in expected:
            told = f"{method} {path.partition('?')[0]}: {status} {' '.join(answer.text[:300].split())}"
            kept.unexpected[ID.sub("<id>", told)] += 1
        return answer

    def post(
        self, family: str, path: str, body: dict[str, Any], expected: frozenset[int] = OK
    ) -> httpx.Response:
        told = {"tenant_id": self.tenant.name, **body}
        return self.ask(family, "POST", path, expected, json=told)

    @property
    def asset(self) -> str:
        return self.random.choice(self.tenant.assets)

    def row(self) -> dict[str, float]:
        return {name: round(self.random.gauss(0, 1), 4) for name in NAMES}


Families = Mapping[str, tuple[float, Callable[[Client, str], None]]]  # weight, and what is asked


def trained() -> bytes:
    rows = np.random.default_rng(3).normal(size=(5_000, len(NAMES)))
    target = rows[:, 0] * 2 + np.sin(rows[:, 1]) + rows[:, 2] * rows[:, 3]
    parameters = {"verbosity": -1, "num_threads": 1, "num_leaves": 15}
    dataset = lightgbm.Dataset(rows, target, feature_name=NAMES)
    return bytes(lightgbm.train(parameters, dataset, num_boost_round=50).model_to_string().encode())


def history(seed: int, until: datetime, hours: int = DAYS * 24) -> list[dict[str, Any]]:
    values = np.random.default_rng(seed).normal(0, 3, hours)
    first = until - timedelta(hours=hours)
    return [
        {
            "timestamp": (first + timedelta(hours=hour)).isoformat(),
            "value": round(float(60 + 20 * np.sin(hour / 24 * 2 * np.pi) + values[hour]), 3),
        }
        for hour in range(hours)
    ]


def set_up(client: Client) -> None:
    """A tenant's readings, weather, a device, a watch, and a model that shares its traffic with a challenger."""
    name, family = client.tenant.name, "set up"
    for number, asset in enumerate(client.tenant.assets):
        body = {"asset_id": asset, "unit": "kW", "readings": history(number, client.now)}
        client.post(family, "/ai/features/readings", body)
    minutes = [client.now - timedelta(minutes=5 * step) for step in range(1, 500)]
    told = [
        {
            "timestamp": at.isoformat(),
            "values": {"cpu_usage": client.random.gauss(50, 5), "temperature": client.random.gauss(60, 2)},
        }
        for at in minutes
    ]
    client.post(family, "/ai/features/readings", {"asset_id": "device", "readings": told})
    client.ask(family, "POST", "/ml/anomalies/train/device", MAKES, json={})
    client.post(family, "/ai/anomaly/watches", {"asset_id": "meter-0", "every_minutes": 5}, MAKES)
    for version in ("v1.0.0", "v1.1.0"):
        register(client, family, "site-load", version)
    promoted = {"target_stage": "production", "reason": "the first"}
    client.ask(family, "PUT", f"/ai/models/{name}:site-load:v1.0.0/promote", json=promoted)
    shared = {"mode": "split", "challenger": "v1.1.0", "share": 0.2}
    client.ask(family, "PUT", f"/ai/models/{name}:site-load/traffic", MAKES, json=shared)
    wrong = [text for kept in client.counted.values() for text in kept.unexpected]
    if wrong:
        raise SystemExit("It could not be set up:\n" + "\n".join(wrong))
    client.counted.clear()


def register(client: Client, family: str, model: str, version: str) -> httpx.Response:
    body = {
        "model_name": model,
        "version": version,
        "model_type": "forecast",
        "metadata": {"framework": "lightgbm", "feature_names": NAMES},
        "metrics": {"mae": 1.5},
        "model_file": base64.b64encode(client.tenant.artifact).decode(),
    }
    return client.post(family, "/ai/models/register", body, frozenset({201}))
