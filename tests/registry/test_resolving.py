"""What answers a prediction is read once and asked for each time: every change is seen by the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from omarino.authentication import Principal
from omarino.errors import NotFound, NotYours
from registry import actions, resolving, traffic
from registry.errors import NoProductionVersion
from registry.models import ModelVersion, Reference, Stage
from registry.resolving import KNOWN, answering
from tests.factories import make_version
from tests.registry import models_made

PRODUCTION = Reference("alpha", "site-load", "production")


@pytest.fixture
def two(db: None, alice: Principal) -> list[ModelVersion]:
    KNOWN.drop(PRODUCTION)
    made = [("v1.0.0", Stage.PRODUCTION), ("v1.1.0", Stage.STAGING)]
    return [
        make_version(alice, version=name, stage=stage, artifact=models_made.lightgbm_text())
        for name, stage in made
    ]


def asked() -> ModelVersion:
    return answering(tenant_id="alpha", reference=PRODUCTION)


def promote(who: Principal, version: str) -> None:
    actions.promote_version(
        tenant_id="alpha",
        reference=Reference("alpha", "site-load", version),
        target_stage=Stage.PRODUCTION,
        by=who,
        reason="",
    )


def split(who: Principal, version: ModelVersion) -> None:
    traffic.start(model=version.model, by=who, mode="split", challenger="v1.1.0", share=0.5)


def test_what_did_not_change_is_not_read_again(two: list[ModelVersion]) -> None:
    first = asked()
    with CaptureQueriesContext(connection) as queries:
        assert asked() is first
        assert first.model.split is None
        assert str(first) == "alpha:site-load:v1.0.0"
    assert len(queries) == 1


def test_a_promotion_there_and_back_is_seen_each_time(alice: Principal, two: list[ModelVersion]) -> None:
    found = []
    for name in ("v1.1.0", "v1.0.0", "v1.1.0"):
        promote(alice, name)
        found.append(asked().version)

    assert found == ["v1.1.0", "v1.0.0", "v1.1.0"]


def change_the_challenger(who: Principal, version: ModelVersion) -> None:
    split(who, version)
    asked()
    ModelVersion.objects.filter(version="v1.1.0").update(framework="other")


CHANGES: dict[str, Callable[[Principal, ModelVersion], Any]] = {
    "the version": lambda _, version: ModelVersion.objects.filter(pk=version.pk).update(framework="other"),
    "its model": lambda _, version: type(version.model).objects.update(gates={"approvals": 1}),
    "its split": split,
    "the challenger": change_the_challenger,
}


def framework_of_the_challenger(version: ModelVersion) -> str:
    found = version.model.split
    return "" if found is None or found.challenger is None else found.challenger.framework


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_is_read(what: str, alice: Principal, two: list[ModelVersion]) -> None:
    before = asked()
    CHANGES[what](alice, two[0])

    after = asked()

    assert after is not before
    fresh = actions.version_of(tenant_id="alpha", reference=PRODUCTION)
    assert (after.framework, after.model.gates) == (fresh.framework, fresh.model.gates)
    assert framework_of_the_challenger(after) == framework_of_the_challenger(fresh)


def test_who_is_no_longer_there_does_not_answer(alice: Principal, two: list[ModelVersion]) -> None:
    asked()
    ModelVersion.objects.filter(stage=Stage.PRODUCTION).update(stage=Stage.ARCHIVED)
    with pytest.raises(NoProductionVersion):
        asked()

    exact = Reference("alpha", "site-load", "v1.1.0")
    assert answering(tenant_id="alpha", reference=exact).version == "v1.1.0"
    ModelVersion.objects.filter(version="v1.1.0").delete()
    with pytest.raises(NotFound):
        answering(tenant_id="alpha", reference=exact)


def test_models_of_one_name_are_each_tenants_own(
    alice: Principal, charlie: Principal, two: list[ModelVersion]
) -> None:
    make_version(charlie, version="v9.0.0", stage=Stage.PRODUCTION, artifact=models_made.lightgbm_text())
    theirs = Reference("gamma", "site-load", "production")

    found = [
        answering(tenant_id=reference.tenant_id, reference=reference).version
        for reference in (PRODUCTION, theirs, PRODUCTION, theirs)
    ]

    assert found == ["v1.0.0", "v9.0.0"] * 2
    with pytest.raises(NotYours):
        answering(tenant_id="alpha", reference=theirs)


def test_what_is_kept_is_bounded(
    alice: Principal, two: list[ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    ModelVersion.objects.filter(stage=Stage.PRODUCTION).update(metadata={"note": "x" * 200_000})
    assert asked() is not asked()

    monkeypatch.setattr(resolving, "KEPT_AT_MOST", 1)
    for version in two[1:]:
        answering(tenant_id="alpha", reference=Reference("alpha", "site-load", version.version))
    assert len(KNOWN) == 1
