"""Every route that takes a body: how large, how deep, how odd it may be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rest_framework.parsers import JSONParser

from omarino.api import StrictJSONParser
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.tenancy.routes import WRITING, Route, private_routes

TAKING = [route for route in private_routes() if route.verb in WRITING]
of_json = [
    route
    for route in TAKING
    if any(issubclass(parser, StrictJSONParser) for parser in route.view.parser_classes)
]
each_route_with_a_body = pytest.mark.parametrize("route", TAKING, ids=str)
each_route_of_json = pytest.mark.parametrize("route", of_json, ids=str)


def send(client: Any, route: Route, body: bytes, **extra: Any) -> Any:
    return client.generic(route.verb.upper(), route.url(), body, "application/json", **extra)


@each_route_with_a_body
def test_no_route_reads_json_by_a_parser_without_limits(route: Route) -> None:
    assert not any(issubclass(parser, JSONParser) for parser in route.view.parser_classes)


@each_route_of_json
def test_a_body_that_says_it_is_endless_is_refused_unread(
    route: Route, alice: Principal, client_of: ClientOf
) -> None:
    answer = send(client_of(alice), route, b"{}", CONTENT_LENGTH=str(2**40))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


ODD = [
    b"[" * 100 + b"]" * 100,
    b'{"a":' * 100 + b"1" + b"}" * 100,
    b"[" * 200_000,
    b'{"a": NaN}',
    b'{"a": 1, "a": 2}',
    b'{"a": "\\u0000"}',
    b'{"a": "\\ud800"}',
    b"\xff\xfe",
]


@each_route_of_json
def test_a_body_that_is_too_deep_or_too_odd_is_a_400(
    route: Route, alice: Principal, client_of: ClientOf
) -> None:
    client = client_of(alice)
    for body in ODD:
        answer = send(client, route, body)
        told = (answer.status_code, answer.json()["code"])
        # a verb without words looks for its row and reads no body
        assert told in ((400, "malformed_body"), (404, "not_found")), body[:20]


@pytest.mark.parametrize("field", ["historical_data", "time_series"])
def test_a_series_has_a_limit_of_points(field: str, alice: Principal, client_of: ClientOf) -> None:
    points = [{"timestamp": 1_700_000_000 + 60 * n, "value": 1} for n in range(200_001)]
    path, more = (
        ("/ai/forecast", {"forecast_type": "load"}) if field == "historical_data" else ("/ai/anomaly", {})
    )
    body = json.dumps({"tenant_id": "alpha", "asset_id": "a", field: points, **more}).encode()

    client: Any = client_of(alice)
    answer = client.generic("POST", path, body, "application/json")

    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_points")
