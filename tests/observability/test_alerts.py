"""The alert rules and the dashboard: they parse, ask only for what the service tells, and the runbook knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from django.conf import settings
from prometheus_client import REGISTRY

from forecasting.quality_metrics import QualityCollector
from omarino.scraping import Waiting

DOCKER = settings.BASE_DIR / "docker"
RULES = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())
BOARD = json.loads((DOCKER / "grafana" / "dashboards" / "hub.json").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
NAME = re.compile(r"\b(?:ai_service_\w+|up)\b")
OF_A_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def questions() -> Iterator[str]:
    yield from (rule["expr"] for rule in ALERTS)
    yield from (target["expr"] for panel in BOARD["panels"] for target in panel["targets"])


def told(families: Any) -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if family.name.startswith("ai_service_")
    }


@pytest.mark.parametrize("question", list(questions()))
def test_each_question_is_promql(question: str) -> None:
    promql_parser.parse(question)


@pytest.mark.django_db(transaction=True)
def test_only_what_the_service_tells_is_asked_for_and_all_the_issue_names_is_there() -> None:
    known = told(REGISTRY.collect()) | told(Waiting().collect()) | told(QualityCollector().collect())

    asked = {OF_A_HISTOGRAM.sub("", name) for question in questions() for name in NAME.findall(question)}

    assert asked - known == {"up"}
    assert known >= {
        "ai_service_requests_total",
        "ai_service_request_duration_ms",
        "ai_service_model_predictions_total",
        "ai_service_model_training_jobs_total",
        "ai_service_inference_duration_ms",
        "ai_service_model_cache_hits_total",
        "ai_service_feature_cache_hits_total",
        "ai_service_anomalies_detected_total",
        "ai_service_queue_depth",
        "ai_service_job_age_seconds",
    }


def test_each_alert_says_what_is_the_matter_and_the_runbook_what_to_do() -> None:
    runbook = (settings.BASE_DIR / "docs" / "operations.md").read_text()

    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"].endswith(".")
        assert f"### {rule['alert']}\n" in runbook


def test_the_dashboard_has_each_panel_once_and_none_on_another() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"]) > 10
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
