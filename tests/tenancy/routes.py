"""Every route of the service, found in its URLconf, and what a test needs to know of those that want more than a GET.

A new route is walked at once. If it has an id, or takes a body, its row or its body must be told here, else
`test_every_route_is_known` fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.views import APIView

from omarino.authentication import Principal
from tests.factories import make_asset, make_forecast_row

VERBS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Rows:
    """How to make a row of somebody's, and what its route calls it; and the name of a row that is not there."""

    make: Callable[[Principal], dict[str, Any]]
    unknown: Callable[[], dict[str, Any]]


# by the name of the route

ROWS: dict[str, Rows] = {
    "forecast": Rows(
        make=lambda owner: {"pk": make_forecast_row(owner).pk}, unknown=lambda: {"pk": uuid.uuid4()}
    ),
    "asset": Rows(
        make=lambda owner: {"asset_id": make_asset(owner, asset_id="meter-of-the-owner").asset_id},
        unknown=lambda: {"asset_id": "no-such-meter"},
    ),
}

DAY = [
    {"timestamp": f"2025-01-{day:02}T{hour:02}:00:00Z", "value": hour}
    for day in range(1, 15)
    for hour in range(24)
]

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("make-forecast", "post"): {"asset_id": "meter", "forecast_type": "load", "historical_data": DAY},
    ("store-readings", "post"): {"asset_id": "meter", "readings": DAY},
    ("store-weather", "post"): {
        "asset_id": "meter",
        "readings": [{"timestamp": "2025-01-01T00:00:00Z", "temperature": 3.5}],
    },
    ("asset", "patch"): {"kind": "generation"},
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address."""

    path: str  # as in the URLconf: ai/forecast/<uuid:pk>
    name: str
    verb: str
    view: Any

    def __str__(self) -> str:
        return f"{self.verb.upper()} /{self.path}"

    @property
    def has_an_id(self) -> bool:
        return "<" in self.path

    def url(self, **names: Any) -> str:
        if self.has_an_id and not names:
            names = ROWS[self.name].unknown()
        return reverse(self.name, kwargs=names)

    def body(self, tenant_id: str) -> dict[str, Any] | None:
        told = BODIES.get((self.name, self.verb))
        return None if told is None else {"tenant_id": tenant_id, **told}


def every_address(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from every_address(entry, prefix + str(entry.pattern))
        else:
            yield prefix + str(entry.pattern), entry


def every_route() -> list[Route]:
    """All methods of all addresses, the pages of the admin apart."""
    return [
        Route(path, str(entry.name), verb, view)
        for path, entry in every_address()
        if not path.startswith("admin/")
        for view in [getattr(entry.callback, "cls", getattr(entry.callback, "view_class", entry.callback))]
        for verb in VERBS
        if not (isinstance(view, type) and issubclass(view, APIView)) or hasattr(view, verb)
    ]


PUBLIC = {"health", "api/health", "health/detailed", "openapi.json", "docs", "redoc"}


def private_routes() -> list[Route]:
    return [route for route in every_route() if route.path not in PUBLIC]


def routes_with_an_id() -> list[Route]:
    return [route for route in private_routes() if route.has_an_id]
