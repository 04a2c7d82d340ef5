"""The lifecycle of models in the pages."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from omarino.authentication import Principal
from omarino.permissions import AI_USER
from registry.actions import set_gates
from registry.models import ModelVersion, Reference, Stage, Transition
from tests.factories import make_version
from tests.pages.conftest import Pages, Visits, make_person
from tests.registry import models_made
from tests.registry.conftest import folder  # noqa: F401  an empty storage for these tests as well

pytestmark = pytest.mark.django_db
MODELS = "/admin/registry/registeredmodel/"


def page_of(version: ModelVersion) -> str:
    return f"/admin/registry/modelversion/{version.pk}/change/"


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def two_versions(owner: Principal) -> tuple[ModelVersion, ModelVersion]:
    old = make_version(owner, version="v1.0.0", stage=Stage.PRODUCTION, metrics={"mae": 2.0, "r2_score": 0.9})
    new = make_version(
        owner, version="v1.1.0", metrics={"mae": 1.5, "r2_score": 0.8}, artifact=models_made.lightgbm_text()
    )
    return old, new


def test_the_list_says_what_is_in_production(alice: Principal, charlie: Principal, pages_of: Pages) -> None:
    two_versions(alice)
    make_version(charlie, name="of-another")

    text = text_of(pages_of(alice).get(MODELS))

    assert 'class="stage stage-production"' in text
    assert "v1.0.0" in text
    assert "v1.1.0" in text
    assert "of-another" not in text


def test_the_candidate_stands_beside_the_incumbent(alice: Principal, pages_of: Pages) -> None:
    _, new = two_versions(alice)

    text = text_of(pages_of(alice).get(page_of(new)))

    assert "Its metrics beside those of v1.0.0" in text
    assert text.count('class="better"') == 1  # mae: 1.5 after 2.0
    assert text.count('class="worse"') == 1  # r2_score: 0.8 after 0.9
    assert f"/ai/models/{new}/artifact" in text


def test_the_verdict_stands_before_the_button(alice: Principal, pages_of: Pages) -> None:
    _, new = two_versions(alice)
    gates = {"not_worse": [{"metric": "r2_score", "percent": 5}, {"metric": "mae", "percent": 5}]}
    set_gates(tenant_id="alpha", reference=Reference.parse("alpha:site-load"), gates=gates)
    pages = pages_of(alice)

    text = text_of(pages.get(page_of(new)))
    assert text.count('<li class="fails">') == 1
    assert text.count('<li class="holds">') == 1
    assert 'value="production" class="button default" disabled' in text

    answer = text_of(pages.post(page_of(new), {"do": "production", "reason": "try"}, follow=True))
    assert "r2_score is 0.8, the incumbent&#x27;s is 0.9" in answer
    assert ModelVersion.objects.production().get().version == "v1.0.0"


def test_a_version_is_promoted_with_a_reason_and_rolled_back(alice: Principal, pages_of: Pages) -> None:
    old, new = two_versions(alice)
    pages = pages_of(alice)

    refused = text_of(pages.post(page_of(new), {"do": "production", "reason": " "}, follow=True))
    assert "Say why" in refused
    done = text_of(pages.post(page_of(new), {"do": "production", "reason": "half a kW less"}, follow=True))

    assert "v1.1.0 went from staging to production." in done
    assert "half a kW less" in done
    assert "replacing v1.0.0" in done

    assert "Roll back to this version" in text_of(pages.get(page_of(old)))
    pages.post(page_of(old), {"do": "production", "reason": "the peaks"}, follow=True)
    assert ModelVersion.objects.production().get() == old
    assert Transition.objects.order_by("-id")[0].by_name == "alice"
    whole = text_of(pages.get(f"{MODELS}{old.model_id}/change/"))
    assert whole.count("<li>") >= 6


def test_two_people_promote_where_the_rules_say_so(alice: Principal, bob: Principal, pages_of: Pages) -> None:
    version = make_version(alice)
    set_gates(tenant_id="alpha", reference=Reference.parse("alpha:site-load"), gates={"two_person": True})
    pages = pages_of(alice)
    assert "Nobody but the one who promotes" in text_of(pages.get(page_of(version)))

    pages_of(bob).post(page_of(version), {"do": "approve", "reason": "looked"})

    assert "Approved by bob (looked)" in text_of(pages.get(page_of(version)))
    pages.post(page_of(version), {"do": "production", "reason": "both of us"})
    version.refresh_from_db()
    assert version.stage == Stage.PRODUCTION


def test_who_may_only_read_gets_no_button(alice: Principal, pages_of: Pages) -> None:
    _, new = two_versions(alice)
    pages = pages_of(alice, roles=frozenset({AI_USER}))

    assert 'name="do"' not in text_of(pages.get(page_of(new)))
    assert pages.post(page_of(new), {"do": "production", "reason": "x"}).status_code == 403
    assert ModelVersion.objects.production().get().version == "v1.0.0"


@pytest.mark.parametrize("asked", ["", "deleted", "PRODUCTION"])
def test_only_known_verbs_are_taken(alice: Principal, pages_of: Pages, asked: str) -> None:
    _, new = two_versions(alice)

    assert pages_of(alice).post(page_of(new), {"do": asked, "reason": "x"}).status_code == 403


def test_another_tenants_model_looks_absent(alice: Principal, charlie: Principal, pages_of: Pages) -> None:
    version = make_version(alice)
    pages = pages_of(charlie)

    for path, absent in (
        (page_of(version), f"/admin/registry/modelversion/{uuid.uuid4()}/change/"),
        (f"{MODELS}{version.model_id}/change/", f"{MODELS}{uuid.uuid4()}/change/"),
    ):
        assert pages.get(path).status_code == pages.get(absent).status_code == 302
    assert pages.post(page_of(version), {"do": "production", "reason": "x"}).status_code == 302
    version.refresh_from_db()
    assert version.stage == Stage.STAGING


def test_nothing_is_added_or_deleted_here(alice: Principal, pages_of: Pages) -> None:
    version = make_version(alice)
    pages = pages_of(alice, is_superuser=True)

    assert pages.get(f"{MODELS}add/").status_code == 403
    assert (
        pages.post(f"/admin/registry/modelversion/{version.pk}/delete/", {"post": "yes"}).status_code == 403
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_a_person_promotes_in_a_browser(alice: Principal, visit: Visits, phone: bool) -> None:
    _, new = two_versions(alice)
    window = visit(phone=phone)
    window.enter(make_person(alice))

    for path in (MODELS, f"{MODELS}{new.model_id}/change/", page_of(new)):
        window.go(path)
        assert not window.is_too_wide(), path
    window.page.get_by_label("Why?").fill("half a kW less")
    window.page.get_by_role("button", name="Put into production").click()

    assert "Version v1.1.0 went from staging to production." in window.page.content()
    assert ModelVersion.objects.production().get() == new
