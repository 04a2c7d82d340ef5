"""Scores and flags that an earlier version kept, by model alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from forecasting.models import DriftFlag, ForecastScore
from omarino.authentication import Principal
from tests.factories import make_drift_flag, make_score_row

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = ("forecasting", "0004_sent_history")
MOMENT = datetime(2025, 3, 10, 12, tzinfo=UTC)
SCORE = {
    "tenant_id": "alpha",
    "asset_id": "main-meter",
    "lead_hours": 24,
    "day": MOMENT.date(),
    "count": 24,
    "mae": 1.5,
    "pinball": 0.6,
    "coverage": 0.75,
    "bias": 0.0,
    "size": 12.0,
    "scored_at": MOMENT,
}
FLAG = {
    "tenant_id": "alpha",
    "asset_id": "main-meter",
    "value": 0.5,
    "limit": 0.15,
    "raised_at": MOMENT,
    "seen_at": MOMENT,
}


@pytest.fixture
def forward() -> Iterator[None]:
    yield
    call_command("migrate", "forecasting", verbosity=0)


def tables_of_before() -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate([BEFORE])
    return executor.loader.project_state([BEFORE]).apps


@pytest.mark.usefixtures("forward")
def test_they_stay_with_what_is_known_of_who_answered() -> None:
    apps = tables_of_before()
    for name in ("auto", "linear_v1", "site-load"):
        apps.get_model("forecasting", "ForecastScore").objects.create(**SCORE, model_name=name)
    for kind, name in (("coverage", "auto"), ("coverage", "site-load"), ("readings", "")):
        apps.get_model("forecasting", "DriftFlag").objects.create(**FLAG, kind=kind, model_name=name)

    call_command("migrate", "forecasting", verbosity=0)

    told = ("model_name", "model_version", "algorithm")
    assert list(ForecastScore.objects.order_by("model_name").values_list(*told)) == [
        ("auto", "v1.0.0", "auto"),
        ("linear_v1", "v1.0.0", "linear_v1"),
        ("site-load", "", "registered"),
    ]
    assert list(DriftFlag.objects.order_by("model_name").values_list("kind", *told)) == [
        ("readings", "", "", ""),
        ("coverage", "auto", "v1.0.0", "auto"),
        ("coverage", "site-load", "", "registered"),
    ]


@pytest.mark.usefixtures("forward")
def test_back_there_is_one_for_each_model_again(alice: Principal) -> None:
    for algorithm, count in (("blend", 24), ("linear_v1", 6)):
        make_score_row(alice, algorithm=algorithm, count=count)
        make_drift_flag(alice, algorithm=algorithm)

    apps = tables_of_before()

    assert apps.get_model("forecasting", "ForecastScore").objects.get().count == 24
    assert apps.get_model("forecasting", "DriftFlag").objects.count() == 1
