"""Every error, wherever it arises, is a problem detail that says what to do and nothing of our insides."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
from django.test import Client
from rest_framework.test import APIClient

from omarino.api import PROBLEM
from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.omarino.failing_urls import SECRET

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


@pytest.fixture(autouse=True)
def _failing_routes(settings: Any, db: None) -> None:
    settings.ROOT_URLCONF = "tests.omarino.failing_urls"


@pytest.fixture
def anyone() -> APIClient:
    return APIClient(raise_request_exception=False)


def check_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == PROBLEM
    body: dict[str, Any] = response.json()
    assert set(body) >= MEMBERS
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:omarino:problem:{code}")
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert body["title"]
    assert body["detail"][0].isupper()
    assert body["detail"].endswith((".", "?"))
    for inside in (SECRET, "Traceback", "File ", "psycopg", "django", "/work", "site-packages"):
        assert inside not in response.content.decode()
    return body


EXPECTED = {
    "hub-error": (418, "teapot"),
    "outage": (503, "cache_away"),
    "operational": (503, "database_unavailable"),
    "interface": (503, "database_unavailable"),
    "valkey": (503, "dependency_unavailable"),
    "valkey-slow": (503, "dependency_unavailable"),
    "not-found": (404, "not_found"),
    "forbidden": (403, "permission_denied"),
    "suspicious": (400, "bad_request"),
    "bug": (500, "internal_error"),
    "bug-in-redis": (500, "internal_error"),
}


@pytest.mark.parametrize("where", ["fails", "page-fails"])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_fault_of_a_view_becomes_a_problem(
    name: str, where: str, anyone: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    status, code = EXPECTED[name]

    with caplog.at_level(logging.ERROR):
        response = anyone.get(f"/{where}/{name}")

    body = check_problem(response, status, code)
    assert ("Retry-After" in response.headers) == (status == 503)
    if status == 500:
        assert SECRET in caplog.text  # the traceback is in the log, under the id the caller was given
        assert body["request_id"] in caplog.text or body["request_id"]


def test_the_facts_of_a_refusal_are_data(anyone: APIClient) -> None:
    body = check_problem(anyone.get("/fails/hub-error"), 418, "teapot")

    assert (body["colour"], body["detail"]) == ("brown", "This is a brown teapot.")


def test_an_outage_says_when_to_come_back(anyone: APIClient) -> None:
    assert anyone.get("/fails/outage").headers["Retry-After"] == "7"


def test_a_throttled_caller_learns_the_wait_rounded_up(anyone: APIClient) -> None:
    response = anyone.get("/fails/throttled")

    check_problem(response, 429, "throttled")
    assert response.headers["Retry-After"] == "3"


def test_invalid_fields_are_listed_by_path(anyone: APIClient) -> None:
    body = check_problem(anyone.get("/fails/validation"), 422, "validation_failed")

    assert body["errors"] == [
        {"field": "horizon_hours", "message": "Too long.", "code": "invalid"},
        {"field": "points.3", "message": "Bad.", "code": "invalid"},
    ]
    assert body["detail"] == "Please mend: horizon_hours, points.3."


def test_a_fault_of_the_whole_has_no_field(anyone: APIClient) -> None:
    body = check_problem(anyone.get("/fails/validation-text"), 422, "validation_failed")

    assert (body["detail"], body["errors"][0]["field"]) == ("All of it is wrong.", "")


def test_a_refusal_without_reasons_is_still_an_answer(anyone: APIClient) -> None:
    assert check_problem(anyone.get("/fails/validation-empty"), 422, "validation_failed")["errors"] == []


# What the frameworks answer by themselves


@pytest.mark.parametrize(
    "path", ["/nope", "/ai/nope", "/ai/forecast/not-an-id", "/adminx", "/health/x", "/%ff"]
)
def test_an_unknown_address(path: str, anyone: APIClient) -> None:
    check_problem(anyone.get(path), 404, "not_found")


def test_an_unknown_host(anyone: APIClient) -> None:
    check_problem(anyone.get("/health", HTTP_HOST="evil.example"), 400, "bad_request")


@pytest.mark.parametrize("path", ["/health", "/ai/forecast", "/openapi.json", "/docs", "/redoc"])
def test_a_wrong_method(path: str, client_of: ClientOf, alice: Principal) -> None:
    response = client_of(alice).delete(path)

    check_problem(response, 405, "method_not_allowed")
    assert "OPTIONS" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/ai/forecasts", "/openapi.json", "/health"])
def test_a_format_we_do_not_speak(path: str, client_of: ClientOf, alice: Principal) -> None:
    check_problem(client_of(alice).get(path, HTTP_ACCEPT="application/xml"), 406, "not_acceptable")


def test_a_format_asked_for_in_the_query(client_of: ClientOf, alice: Principal) -> None:
    check_problem(client_of(alice).get("/ai/forecasts?format=xml"), 404, "not_found")


def test_a_body_of_another_kind(client_of: ClientOf, alice: Principal) -> None:
    for kind in ("application/xml", "multipart/form-data; boundary=x", "text/plain", "x", ";;;"):
        response = client_of(alice).post("/echo", b"<a/>", content_type=kind)
        check_problem(response, 415, "unsupported_media_type")


def test_a_body_that_is_too_large(client_of: ClientOf, alice: Principal) -> None:
    body = check_problem(
        client_of(alice).post("/echo", b'"' + b"a" * 999 + b'"', content_type="application/json"),
        413,
        "body_too_large",
    )

    assert body["limit_bytes"] == 1000


def test_a_body_of_exactly_the_limit_is_read(client_of: ClientOf, alice: Principal) -> None:
    whole = b'"' + b"a" * 998 + b'"'

    response = client_of(alice).post("/echo", whole, content_type="application/json")

    assert (response.status_code, response.json()) == (200, {"got": "a" * 998})


def test_a_body_that_is_not_json(client_of: ClientOf, alice: Principal) -> None:
    response = client_of(alice).post("/echo", b'{"a": NaN}', content_type="application/json")

    assert "write null" in check_problem(response, 400, "malformed_body")["detail"]


def test_an_empty_body_names_what_is_missing(client_of: ClientOf, alice: Principal) -> None:
    response = client_of(alice).post("/ai/forecast", b"", content_type="application/json")

    body = check_problem(response, 422, "validation_failed")
    assert "forecast_type" in {error["field"] for error in body["errors"]}


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_a_bad_request_not_a_fault(
    body: bytes, client_of: ClientOf, alice: Principal
) -> None:
    response = client_of(alice).post("/ai/forecast", body, content_type="application/json")

    check_problem(response, 422, "validation_failed")


@pytest.mark.parametrize(
    "path", ["/ai/forecasts?asset_id=%00", "/ai/forecasts?%00", "/ai/%00", "/health?a=b%00c"]
)
def test_a_nul_in_the_address(path: str, client_of: ClientOf, alice: Principal) -> None:
    check_problem(client_of(alice).get(path), 400, "malformed_address")


def test_a_percent_sign_and_two_zeros_are_no_nul(client_of: ClientOf, alice: Principal) -> None:
    assert client_of(alice).get("/ai/forecasts?asset_id=100%2500").status_code == 200


@pytest.mark.parametrize("extra", [{"HTTP_TRANSFER_ENCODING": "chunked"}, {"wsgi.input_terminated": True}])
def test_a_body_of_unknown_length_is_refused_not_taken_for_none(
    extra: dict[str, Any], anyone: APIClient
) -> None:
    response = anyone.generic("POST", "/echo", "{}", "application/json", CONTENT_LENGTH="", **extra)

    assert "Content-Length" in check_problem(response, 411, "length_required")["detail"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=501", "limit=-1", "limit=a", "limit=", "limit=1.5", "limit=%C2%B2", "offset=-1"),
        *("limit=000000000050999", "offset=99999999999999999999", "limit=1&limit=9999"),
    ],
)
def test_a_page_out_of_range(query: str, client_of: ClientOf, alice: Principal) -> None:
    body = check_problem(client_of(alice).get(f"/ai/forecasts?{query}"), 422, "validation_failed")

    assert body["errors"][0]["field"] == query.split("=")[0]


def test_a_route_without_a_permission_is_closed(
    client_of: ClientOf, alice: Principal, anyone: APIClient
) -> None:
    check_problem(anyone.get("/forgotten"), 401, "not_authenticated")
    check_problem(client_of(alice).get("/forgotten"), 403, "permission_denied")


# Request ids


@pytest.mark.parametrize("given", ["a", "A-z_0.9:x", "x" * 128, "0af7651916cd43dd8448eb211c80319c"])
def test_the_callers_request_id_is_kept(given: str, anyone: APIClient) -> None:
    assert anyone.get("/health", HTTP_X_REQUEST_ID=given).headers["X-Request-ID"] == given
    assert anyone.get("/nope", HTTP_X_REQUEST_ID=given).json()["request_id"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "x" * 129, "a b", "a\nSet-Cookie: b", "é", "<script>", "a;b", "a\n"]
)
def test_a_malformed_request_id_is_replaced(given: str, anyone: APIClient) -> None:
    made = anyone.get("/health", HTTP_X_REQUEST_ID=given).headers["X-Request-ID"]

    assert made != given
    assert len(made) == 32


def test_every_request_has_an_id_of_its_own(anyone: APIClient) -> None:
    assert len({anyone.get("/health").headers["X-Request-ID"] for _ in range(10)}) == 10


def test_a_log_line_names_the_tenant_of_its_own_request_only(
    client_of: ClientOf, alice: Principal, anyone: APIClient
) -> None:
    client_of(alice).get("/ai/forecasts")
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        anyone.get("/fails/operational")
        client_of(alice).get("/fails/operational")

    assert [line.get("tenant_id") for line in lines] == [None, None]  # the failing route asks for no token
    assert all(len(line["request_id"]) == 32 for line in lines)


# Pages


def test_errors_of_the_pages_are_pages(client: Client) -> None:
    client.raise_request_exception = False

    assert client.get("/admin/nope").status_code == 302
    bad = client.get("/admin/", HTTP_HOST="evil.example")
    assert (bad.status_code, bad.headers["Content-Type"].split(";")[0]) == (400, "text/html")
