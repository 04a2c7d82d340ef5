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
COMPOSE = yaml.safe_load((settings.BASE_DIR / "docker-compose.yml").read_text())["services"]
RULES = yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())
BOARD = json.loads((DOCKER / "grafana" / "dashboards" / "hub.json").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
NAME = re.compile(r"\b(?:ai_service_\w+|up)\b")
DURATION = re.compile(r"(\d+(ms|[smhdwy]))+")
CORE_PANELS = {
    "stat",
    "timeseries",
    "table",
    "bargauge",
    "gauge",
    "barchart",
    "heatmap",
    "piechart",
    "row",
    "text",
}
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


def test_prometheus_is_given_nothing_that_it_does_not_know() -> None:
    """It reads strictly: for one unknown word it loads no rule at all, and does not start."""
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    mounted = [volume.split(":")[:2] for volume in COMPOSE["prometheus"]["volumes"]]

    assert set(RULES) == {"groups"}
    for group in RULES["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
    for rule in ALERTS:
        assert {*rule, "for"} == {"alert", "expr", "for", "labels", "annotations"}
        assert DURATION.fullmatch(rule.get("for", "1s"))
        assert all(
            isinstance(text, str) for text in [*rule["labels"].values(), *rule["annotations"].values()]
        )
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    assert [DOCKER / "prometheus" / name for name in config["rule_files"]] == [
        DOCKER / "prometheus" / "rules.yml"
    ]
    assert ["./docker/prometheus", "/etc/prometheus"] in mounted
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    worker_port = COMPOSE["worker"]["environment"]["WORKER_METRICS_PORT"]
    assert targets == {"hub-web": ["web:8003"], "hub-worker": [f"worker:{worker_port}"]}


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


def test_grafana_finds_the_dashboard_and_the_dashboard_its_data() -> None:
    folder = DOCKER / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "hub.yml").read_text())["providers"]
    mounted = dict(volume.split(":")[:2] for volume in COMPOSE["grafana"]["volumes"])

    assert mounted == {
        "./docker/grafana/provisioning": "/etc/grafana/provisioning",
        "./docker/grafana/dashboards": provider["options"]["path"],
    }
    assert [(source["uid"], source["url"]) for source in sources] == [
        ("prometheus", "http://prometheus:9090")
    ]
    for panel in BOARD["panels"]:
        assert panel["type"] in CORE_PANELS
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        for asks in (panel, *panel["targets"]):
            assert asks["datasource"] == {"type": "prometheus", "uid": "prometheus"}
    assert BOARD["uid"]
    assert "id" not in BOARD  # Grafana gives it


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
