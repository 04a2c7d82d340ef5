"""PostgreSQL as Django speaks to it; and before every use the session knows for which tenant it is used.

A kept session remembers its tenant from one request to the next, and is told anew when the next is of another, when it
is new, and when something was rolled back. A connection is asked for a sign of life only where it may be dead. Why that
is safe stands in docs/adr/0027-a-request-costs-what-it-uses.md.
"""

# The stubs leave out what a backend of Django's overrides.
# mypy: disable-error-code="misc, attr-defined, has-type"

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any, LiteralString

from django.db.backends.postgresql import base
from psycopg import Cursor
from psycopg.pq import TransactionStatus

from omarino import tracing
from omarino.postgresql import SETTING, confined_to

RESTED_S = 10.0  # a connection that nobody used for so long is asked whether it lives
# Uses, as psycopg itself has it; Django's own cursors put values in themselves and are not prepared. OPTIONS says another
# `prepare_threshold`, or None where sessions are shared, which their names of statements are then too.
PREPARE_AFTER = 5


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told: str | None = None  # the tenant the session was told; None where nobody can say
        self._used_at = 0.0

    def get_connection_params(self) -> dict[str, Any]:
        found: dict[str, Any] = super().get_connection_params()
        asked = self.settings_dict["OPTIONS"].get("prepare_threshold", PREPARE_AFTER)
        return {**found, "prepare_threshold": asked}

    def ask(self, statement: LiteralString, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows of a question asked all day: planned once a connection, and past Django's ways of composing it.

        A plan stays good while the types of the answer do, so texts of limited length are cast to `text`.
        """
        self._make_ready()
        with (
            tracing.span("prepared question", statement=statement),
            self.wrap_database_errors,
            Cursor(self.connection) as cursor,
        ):
            rows = cursor.execute(statement, parameters, prepare=True).fetchall()
        if self.queries_logged:
            self.queries_log.append({"sql": statement, "time": ""})
        return rows

    # Every way to a statement leads through here

    def _cursor(self, name: str | None = None) -> Any:
        self._make_ready()
        return super()._cursor(name)

    def _set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            self._tell()  # before the transaction begins: what is told within one goes when it is rolled back
        super()._set_autocommit(autocommit)

    def _make_ready(self) -> None:
        self.close_if_health_check_failed()
        self.ensure_connection()
        self._tell()
        self._used_at = time.monotonic()

    # The tenant

    def connect(self) -> None:
        self._told = None
        super().connect()

    def _tell(self) -> None:
        """Where this cannot be done it raises, and nothing is asked."""
        tenant_id = confined_to()
        if tenant_id == self._told:
            return
        self._told = None
        if self.connection.pgconn.transaction_status == TransactionStatus.INERROR:
            return  # PostgreSQL takes nothing but a rollback now, and after that it is told
        with super()._cursor() as cursor:
            cursor.execute("SELECT set_config(%s, %s, false)", [SETTING, tenant_id])
        self._told = tenant_id

    def _rollback(self) -> None:
        self._told = None
        super()._rollback()

    def _savepoint_rollback(self, sid: str) -> None:
        try:
            super()._savepoint_rollback(sid)
        finally:
            self._told = None

    def _commit(self) -> None:
        told, self._told = self._told, None
        super()._commit()
        self._told = told  # a commit that fails rolls back

    # Signs of life

    def close_if_health_check_failed(self) -> None:
        if self.health_check_enabled and not self.health_check_done and self._surely_lives():
            self.health_check_done = True
        super().close_if_health_check_failed()

    def _surely_lives(self) -> bool:
        """Used a moment ago, and the server has said nothing since. One that ends a session says so, or closes it."""
        connection = self.connection
        if connection is None or time.monotonic() - self._used_at > RESTED_S or connection.closed:
            return False
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        said = select.poll()
        said.register(connection.pgconn.socket, select.POLLIN)
        return not said.poll(0)
