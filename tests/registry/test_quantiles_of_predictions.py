"""How far off a predicted number may be: quantiles in the answers of predict."""

from __future__ import annotations

from typing import Any

import pytest

from omarino.authentication import Principal
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made
from tests.registry.test_predict import ROW, VALUES, batch, predict

pytestmark = pytest.mark.django_db


def test_residual_quantiles_that_came_with_the_version(alice: Principal, client_of: ClientOf) -> None:
    version = make_version(
        alice,
        artifact=models_made.lightgbm_text(),
        metadata={"residual_quantiles": {"p90": 2.0, "p10": -1.0, "p50": 0.25}},
    )

    answer = predict(client_of(alice), version, includeConfidence=True).json()
    many = batch(client_of(alice), version, inputs=[ROW, ROW], options={"includeConfidence": True}).json()

    value = answer["prediction"]
    assert answer["confidence"] is None
    assert answer["quantiles"] == {"p10": value - 1.0, "p50": value + 0.25, "p90": value + 2.0}
    assert list(answer["quantiles"]) == ["p10", "p50", "p90"]
    assert many["quantiles"]["p90"] == [value + 2.0] * 2


def test_quantile_models_never_cross(alice: Principal, client_of: ClientOf) -> None:
    five, twenty = models_made.lightgbm_booster(5), models_made.lightgbm_booster(20)
    make_version(alice, name="low", artifact=models_made.lightgbm_text(20))
    make_version(alice, name="high", artifact=models_made.lightgbm_text(5))
    version = make_version(
        alice,
        artifact=models_made.lightgbm_text(10),
        metadata={"quantile_models": {"p10": "low:v1.0.0", "p90": "high:v1.0.0"}},
    )

    answer = predict(client_of(alice), version, includeConfidence=True).json()

    both = sorted(float(booster.predict(VALUES)[0]) for booster in (five, twenty))
    assert [answer["quantiles"]["p10"], answer["quantiles"]["p90"]] == both


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "residual_quantiles"),
        (
            {"quantile_models": {"p10": "low:v1.0.0"}},
            "low:v1.0.0, is not registered, or takes other features",
        ),
        ({"quantile_models": {"p10": "site-load:v1.0.0"}}, "site-load:v1.0.0, is not registered"),
    ],
)
def test_without_them_it_says_why(
    alice: Principal, charlie: Principal, client_of: ClientOf, metadata: Any, said: str
) -> None:
    make_version(charlie, name="low", artifact=models_made.lightgbm_text())  # of another tenant
    version = make_version(alice, artifact=models_made.lightgbm_text(), metadata=metadata)

    answer = predict(client_of(alice), version, includeConfidence=True).json()

    assert answer["confidence"] is None
    assert "quantiles" not in answer
    assert said in answer["confidence_note"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"residual_quantiles": {"p90": -1, "p10": 1}},
        {"residual_quantiles": {"q10": 1}},
        {"residual_quantiles": {"p10": "1"}},
        {"residual_quantiles": {}},
        {"residual_quantiles": [1]},
        {"quantile_models": {"p10": "../x:v1.0.0"}},
        {"quantile_models": {"p10": 1}},
        {"quantile_models": {"p0": "low:v1.0.0"}},
    ],
)
def test_quantiles_that_are_none_are_refused_at_the_door(
    alice: Principal, client_of: ClientOf, metadata: Any
) -> None:
    body = {
        "tenant_id": "alpha",
        "model_name": "x",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm", **metadata},
    }

    response = client_of(alice).post("/ai/models/register", body)

    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert response.json()["errors"][0]["field"].startswith(f"metadata.{next(iter(metadata))}")
