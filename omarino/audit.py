"""What was done and what was refused, kept where nobody can change it unseen.

`record` is called once in each action that writes, last in its transaction: the record is committed with the change
or not at all. What stands in it and what does not is decided in docs/adr and told in docs/howto/audit-and-erasure.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, models
from django.http import HttpRequest

from omarino.asking import asker
from omarino.audit_models import AuditRecord, Outcome

log = structlog.get_logger(__name__)


def record(
    tenant_id: str,
    verb: str,
    kind: str,
    object_id: Any,
    *,
    before: str = "",
    after: models.Model | str = "",
    **facts: Any,
) -> None:
    """Keep that somebody changed something. Call it within the transaction of the change.

    Args:
        verb: in the past tense: stored, promoted, deleted.
        kind: of thing, in words: readings, model version.
        before: `digest` of the row before the change.
        after: the row as it is now, or its digest.
        facts: few and small, such as counts; no values of readings, no secrets.
    """
    _keep(
        tenant_id,
        Outcome.DONE,
        verb,
        kind,
        object_id,
        before=before,
        after=digest(after) if isinstance(after, models.Model) else after,
        facts=facts,
    )


def refused(request: HttpRequest, *, status: int, code: str) -> None:
    """Keep that a known caller was kept from something: a role missing, another tenant named.

    Whoever is not known has no tenant to keep it under; the log has those. A database that is away must not turn a
    refusal into an outage, so it is logged instead.
    """
    try:
        caller = getattr(request, "principal", None) or getattr(request, "user", None)
        tenant_id = getattr(caller, "tenant_id", None)
        if tenant_id is None:
            return
        facts = {"status": status, "code": code}
        _keep(tenant_id, Outcome.REFUSED, str(request.method).lower(), "address", request.path, facts=facts)
    except DatabaseError as fault:
        log.error("refusal_not_recorded", code=code, reason=type(fault).__name__)


def digest(row: models.Model, **was: Any) -> str:
    """sha256 of a row's columns, by name, as JSON; `was`: columns that had another value then."""
    columns = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields} | was
    told = json.dumps(columns, cls=_Encoder, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(told.encode()).hexdigest()


class _Encoder(DjangoJSONEncoder):
    def default(self, o: Any) -> Any:
        return str(o) if isinstance(o, models.Expression) else super().default(o)


def _keep(
    tenant_id: str,
    outcome: Outcome,
    verb: str,
    kind: str,
    object_id: Any,
    *,
    facts: Mapping[str, Any],
    **digests: str,
) -> None:
    who = asker()
    AuditRecord(
        tenant_id=tenant_id,
        outcome=outcome,
        verb=verb,
        kind=kind,
        object_id=_fit(str(object_id), 255),
        subject=_fit(who.subject, 255),
        username=_fit(who.username, 255),
        request_id=_fit(who.request_id, 128),
        facts=dict(facts),
        **digests,
    ).save(force_insert=True)


def _fit(text: str, most: int) -> str:
    """As PostgreSQL takes it: a token or an address may hold a NUL or half a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:most]
