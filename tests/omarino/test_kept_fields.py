"""Fields that are lent to one serializer after the other forget the one before."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework import serializers

from omarino.api import TenantField
from omarino.authentication import Principal
from omarino.errors import TenantMismatch
from omarino.kept_fields import KeptFields


class InnerSerializer(serializers.Serializer[Any]):
    flag = serializers.BooleanField(default=False)


class AskedSerializer(KeptFields, serializers.Serializer[Any]):
    tenant_id = TenantField(required=False)
    count = serializers.IntegerField(max_value=9, default=1)
    inner = InnerSerializer(required=False)

    def validate_count(self, count: int) -> int:
        if count == 7:  # as a rule that asks once more, of the same kind
            other = AskedSerializer(data={"count": 2}, context=self.context)
            other.is_valid(raise_exception=True)
            return int(other.validated_data["count"])
        return count


def said(who: Principal, data: Any) -> Any:
    asked = AskedSerializer(data=data, context={"request": SimpleNamespace(auth=who)})
    return asked.validated_data if asked.is_valid() else asked.errors


def test_each_says_what_it_was_asked(alice: Principal, charlie: Principal) -> None:
    assert said(alice, {"tenant_id": "alpha", "inner": {"flag": True}}) == {
        "tenant_id": "alpha",
        "count": 1,
        "inner": {"flag": True},
    }
    assert "count" in said(alice, {"count": 10, "inner": {"flag": "perhaps"}})
    assert said(charlie, {"tenant_id": "gamma", "count": 3}) == {"tenant_id": "gamma", "count": 3}


def test_the_tenant_is_that_of_the_request_at_hand(alice: Principal, charlie: Principal) -> None:
    said(alice, {"tenant_id": "alpha"})
    with pytest.raises(TenantMismatch):
        said(charlie, {"tenant_id": "alpha"})
    assert said(alice, {"tenant_id": "alpha"})["tenant_id"] == "alpha"


def test_one_within_another_has_fields_of_its_own(alice: Principal) -> None:
    for _ in range(2):
        assert said(alice, {"count": 7, "tenant_id": "alpha"}) == {"count": 2, "tenant_id": "alpha"}


def test_nobody_is_remembered_afterwards(alice: Principal) -> None:
    said(alice, {"count": 3})
    said(alice, {"count": 10})

    assert {field.parent for field in vars(KeptFields._lent)[f"{__name__}.AskedSerializer"].values()} == {
        None
    }


def test_threads_share_none(alice: Principal, charlie: Principal) -> None:
    wrong: list[Any] = []

    def work(who: Principal) -> None:
        for count in range(200):
            found = said(who, {"tenant_id": who.tenant_id, "count": count % 7})
            if found != {"tenant_id": who.tenant_id, "count": count % 7}:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(who,)) for who in (alice, charlie) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
