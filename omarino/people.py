"""What the audit keeps of people: that somebody came, what they may, and what that was before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from omarino import audit
from omarino.models import User


@dataclass(frozen=True, slots=True)
class Standing:
    """A person as kept at one moment."""

    tenant_id: str
    digest: str  # of columns, groups and permissions
    may: dict[str, Any]

    @classmethod
    def of(cls, pk: Any) -> Self:
        person = User.objects.get(
            pk=pk
        )  # not the one at hand, on which a form may have put what is not kept yet
        groups = sorted(person.groups.values_list("name", flat=True))
        permissions = sorted(person.user_permissions.values_list("codename", flat=True))
        # when somebody last signed in changes without a record, and would make every digest another
        digest = audit.digest(person, last_login=None, groups=groups, permissions=permissions)
        may = {"roles": groups, "is_active": person.is_active, "is_superuser": person.is_superuser}
        return cls(person.tenant_id, digest, may)


def created(person: User, **facts: Any) -> None:
    """Call it within the transaction, when the groups are set."""
    now = Standing.of(person.pk)
    audit.record(now.tenant_id, "created", "person", person.pk, after=now.digest, **now.may, **facts)


def changed(person: User, was: Standing, **facts: Any) -> None:
    """Says what somebody may now that they could not, or no longer. A move is told in both tenants, to neither where the
    other is. The connection must be confined to none of the two."""
    now = Standing.of(person.pk)
    if now == was:
        return
    told: dict[str, Any] = {
        name: [was.may[name], now.may[name]] for name in now.may if was.may[name] != now.may[name]
    }
    digests = {"before": was.digest, "after": now.digest}
    if now.tenant_id == was.tenant_id:
        audit.record(now.tenant_id, "changed", "person", person.pk, **digests, **told, **facts)
        return
    audit.record(was.tenant_id, "changed", "person", person.pk, **digests, moved="away", **facts)
    audit.record(now.tenant_id, "changed", "person", person.pk, **digests, moved="here", **told, **facts)


def deleted(person: User) -> None:
    was = Standing.of(person.pk)
    audit.record(was.tenant_id, "deleted", "person", person.pk, before=was.digest, **was.may)
