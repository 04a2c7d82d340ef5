"""A connection is kept from request to request, and remembers a tenant: it must never be the wrong one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import psycopg
import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from omarino.authentication import Principal
from omarino.permissions import MayRead
from omarino.postgresql import base, confine, release
from tests.conftest import ClientOf
from tests.factories import make_asset

ASSETS = "SELECT DISTINCT tenant_id FROM features_asset ORDER BY tenant_id"


def seen() -> list[str]:
    """Whose assets a query shows that names no tenant."""
    with connection.cursor() as cursor:
        cursor.execute(ASSETS)
        return [tenant for (tenant,) in cursor.fetchall()]


def seen_by_a_prepared_question() -> list[str]:
    return [tenant for (tenant,) in cast(Any, connection).ask(ASSETS, [])]


class SeenView(APIView):
    permission_classes = [MayRead]

    def get(self, request: Request) -> Response:
        return Response([seen(), seen_by_a_prepared_question()])

    def post(self, request: Request) -> Response:
        """Fails within a transaction, where a statement was refused."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        return Response()


urlpatterns = [path("seen", SeenView.as_view())]


@pytest.fixture(autouse=True)
def rows_of_both(db: None, alice: Principal, charlie: Principal, settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    for owner in (alice, charlie):
        make_asset(owner)
    yield
    release()


def told(asked: CaptureQueriesContext) -> list[str]:
    return [each["sql"] for each in asked.captured_queries if "set_config" in each["sql"]]


def test_tenants_that_alternate_on_one_connection_see_their_own(
    client_of: ClientOf, alice: Principal, charlie: Principal
) -> None:
    clients = [client_of(alice), client_of(charlie)]

    answers = [clients[number % 2].get("/seen").json() for number in range(6)]

    assert answers == [[["alpha"]] * 2, [["gamma"]] * 2] * 3
    assert seen() == [
        "alpha",
        "gamma",
    ]  # and who comes after them without a tenant sees all, as a worker must


def test_a_session_is_told_when_the_tenant_changes_and_not_otherwise(
    client_of: ClientOf, alice: Principal, charlie: Principal
) -> None:
    first, other = client_of(alice), client_of(charlie)
    first.get("/seen")

    with CaptureQueriesContext(cast(Any, connection)) as asked:
        first.get("/seen")
        first.get("/seen")
    assert told(asked) == []
    with CaptureQueriesContext(cast(Any, connection)) as asked:
        other.get("/seen")
        other.get("/seen")
    assert len(told(asked)) == 1


def test_after_a_request_that_failed_in_a_transaction_everybody_sees_their_own(
    client_of: ClientOf, alice: Principal, charlie: Principal
) -> None:
    assert client_of(alice).post("/seen").status_code == 500
    assert client_of(charlie).get("/seen").json() == [["gamma"]] * 2
    assert client_of(alice).post("/seen").status_code == 500
    assert seen() == ["alpha", "gamma"]


def test_what_a_transaction_was_told_and_rolled_back_is_told_again() -> None:
    confine("alpha")
    assert seen() == ["alpha"]
    with suppress(IntegrityError), transaction.atomic():
        confine("gamma")
        assert seen() == ["gamma"]
        raise IntegrityError  # with it goes what the session was told since the transaction began
    assert seen() == ["gamma"]
    release()
    assert seen() == ["alpha", "gamma"]


def test_a_tenant_that_changes_while_a_transaction_is_broken_is_told_after_it() -> None:
    confine("alpha")
    with suppress(DatabaseError), transaction.atomic():
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        confine("gamma")
        seen()
    assert seen() == ["gamma"]


@pytest.mark.django_db(transaction=True)
def test_a_session_that_cannot_be_told_answers_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    confine("alpha")
    seen()
    monkeypatch.setattr(base, "SETTING", "no such setting")  # PostgreSQL refuses the name
    confine("gamma")

    for ask in (seen, seen_by_a_prepared_question):
        with pytest.raises(DatabaseError):
            ask()
        with pytest.raises(DatabaseError), transaction.atomic():
            ask()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_fails_at_its_end_leaves_nothing_behind() -> None:
    confine("alpha")

    @transaction.atomic
    def work() -> None:
        confine("gamma")
        seen()
        with connection.cursor() as cursor:  # refused when all is over
            cursor.execute(
                "CREATE TEMP TABLE late (n int, CONSTRAINT once UNIQUE (n) DEFERRABLE INITIALLY DEFERRED);"
                "INSERT INTO late VALUES (1), (1)"
            )

    with pytest.raises(IntegrityError):
        work()
    assert seen() == ["gamma"]


@pytest.mark.django_db(transaction=True)
def test_another_thread_has_a_connection_and_a_tenant_of_its_own() -> None:
    found: list[list[str]] = []

    def work() -> None:
        try:
            found.append(seen())
            confine("gamma")
            found.append(seen())
        finally:
            connection.close()

    confine("alpha")
    seen()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [["alpha", "gamma"], ["gamma"]]
    assert seen() == ["alpha"]


# Connections that die


def end_session() -> None:
    """As a restart of the server does, or an operator."""
    given = {name: connection.settings_dict[name.upper()] for name in ("user", "password", "host", "port")}
    with psycopg.connect(dbname=connection.settings_dict["NAME"], autocommit=True, **given) as other:
        other.execute(
            "SELECT pg_terminate_backend(%s, 5000)", [cast(Any, connection).connection.info.backend_pid]
        )


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_ended_is_made_anew_and_told(
    client_of: ClientOf, alice: Principal, charlie: Principal
) -> None:
    assert settings.DATABASES["default"]["CONN_HEALTH_CHECKS"]
    assert client_of(alice).get("/seen").json() == [["alpha"]] * 2
    end_session()

    request_started.send(None)  # the test client holds these two back
    assert client_of(charlie).get("/seen").json() == [["gamma"]] * 2
    request_finished.send(None)


@pytest.mark.django_db(transaction=True)
def test_a_connection_in_use_is_asked_for_a_sign_of_life_only_after_a_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def is_usable(_: Any) -> bool:
        asked.append(1)
        return True

    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", is_usable)
    wrapper = cast(Any, connections["default"])
    assert wrapper.settings_dict["CONN_HEALTH_CHECKS"]

    found = []
    for rested_s in (0.0, 0.0, base.RESTED_S + 1, 0.0):
        seen()
        wrapper.health_check_done = False  # as each request begins
        wrapper._used_at -= rested_s
        seen()
        found.append(len(asked))

    assert found == [0, 0, 1, 1]
