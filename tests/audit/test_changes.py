"""Each verb that writes leaves a record of who did it, to what, and what it was before."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from rest_framework.test import APIClient

from omarino import audit
from omarino.audit_models import AuditRecord, Outcome
from omarino.authentication import Principal
from omarino.models import User
from registry.models import ModelVersion, Stage
from tests.audit.conftest import records_of_this_test
from tests.conftest import ClientOf
from tests.factories import make_asset, make_detection_row, make_readings, make_version
from tests.registry import models_made


def done(tenant_id: str = "alpha") -> list[tuple[str, str, str, str]]:
    """The changes, oldest first: who, verb, kind, id."""
    rows = records_of_this_test().for_tenant(tenant_id).filter(outcome=Outcome.DONE).order_by("at")
    return list(rows.values_list("username", "verb", "kind", "object_id"))


def newest() -> AuditRecord:
    found: AuditRecord | None = records_of_this_test().first()
    assert found is not None
    return found


READINGS = [{"timestamp": f"2025-01-01T{hour:02}:00:00Z", "value": hour} for hour in range(24)]


def test_readings_stored_are_one_record_with_their_count(client_of: ClientOf, alice: Principal) -> None:
    client = client_of(alice)

    client.post("/ai/features/readings", {"tenant_id": "alpha", "asset_id": "meter", "readings": READINGS})
    client.post("/ai/features/readings", {"tenant_id": "alpha", "asset_id": "meter", "readings": READINGS})

    assert done() == [("alice", "stored", "readings", "meter")]  # the second time nothing changed
    assert newest().facts == {"accepted": 24, "updated": 0}
    first = newest().after
    client.post("/ai/features/readings", {"tenant_id": "alpha", "asset_id": "other", "readings": READINGS})
    assert newest().after == first != ""  # the digest is of what was sent
    changed = [*READINGS[:-1], READINGS[-1] | {"value": 99.5}]
    client.post("/ai/features/readings", {"tenant_id": "alpha", "asset_id": "other", "readings": changed})
    assert newest().after != first


def test_weather_stored_is_a_record(client_of: ClientOf, alice: Principal) -> None:
    rows = [{"timestamp": "2025-01-01T00:00:00Z", "temperature": 3.5}]

    client_of(alice).post(
        "/ai/features/weather", {"tenant_id": "alpha", "asset_id": "meter", "readings": rows}
    )

    assert done() == [("alice", "stored", "weather", "meter")]
    assert len(newest().after) == 64


def test_an_edited_asset_shows_what_it_was_and_is_by_digest(client_of: ClientOf, alice: Principal) -> None:
    asset = make_asset(alice)
    was = audit.digest(asset)

    client_of(alice).patch("/ai/features/assets/main-meter", {"kind": "generation"})

    asset.refresh_from_db()
    found = newest()
    assert (found.verb, found.before, found.after) == ("changed", was, audit.digest(asset))
    assert found.before != found.after
    assert found.facts == {"fields": ["kind"]}


def test_a_refused_change_leaves_no_record(client_of: ClientOf, alice: Principal) -> None:
    make_asset(alice)

    assert client_of(alice).patch("/ai/features/assets/main-meter", {"subdivision": "BY"}).status_code == 422
    assert done() == []


def test_the_life_of_a_model_is_told(client_of: ClientOf, alice: Principal) -> None:
    client = client_of(alice)
    told = {
        "tenant_id": "alpha",
        "model_name": "load",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm"},
    }

    client.post("/ai/models/register", told)
    client.put("/ai/models/alpha:load/gates", {"required_metrics": []})
    client.post("/ai/models/alpha:load:v1.0.0/approve", {})
    client.post("/ai/models/alpha:load:v1.0.0/approve", {})
    client.put("/ai/models/alpha:load:v1.0.0/promote", {"target_stage": "archived"})
    client.delete("/ai/models/alpha:load:v1.0.0")

    assert [(verb, kind, name) for _, verb, kind, name in done()] == [
        ("registered", "model version", "alpha:load:v1.0.0"),
        ("changed", "gates", "alpha:load"),
        ("approved", "model version", "alpha:load:v1.0.0"),
        ("moved", "model version", "alpha:load:v1.0.0"),
        ("deleted", "model version", "alpha:load:v1.0.0"),
    ]
    moved, deleted = records_of_this_test().filter(verb__in=("moved", "deleted")).order_by("at")
    assert moved.after == deleted.before != moved.before
    assert moved.facts == {"from_stage": "staging", "to_stage": "archived"}


def test_a_promotion_records_who_came_and_who_went(
    client_of: ClientOf, alice: Principal, bob: Principal
) -> None:
    make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION)
    make_version(alice, version="v2.0.0")

    client_of(bob).put("/ai/models/alpha:site-load:v2.0.0/promote", {"target_stage": "production"})

    assert done() == [
        ("bob", "moved", "model version", "alpha:site-load:v1.0.0"),
        ("bob", "moved", "model version", "alpha:site-load:v2.0.0"),
    ]


def test_who_shared_a_models_traffic_and_ended_that_is_told(
    client_of: ClientOf, alice: Principal, bob: Principal
) -> None:
    content = models_made.lightgbm_text()
    make_version(alice, version="v1.0.0", stage=Stage.PRODUCTION, artifact=content)
    make_version(alice, version="v2.0.0", artifact=content)
    address = "/ai/models/alpha:site-load"

    split = client_of(alice).put(
        f"{address}/traffic", {"mode": "split", "challenger": "v2.0.0", "share": 1.0}
    )
    row = {"input": dict.fromkeys(models_made.NAMES, 1.0)}
    predicted = client_of(alice).post(f"{address}:production/predict", row).json()
    told = {"outcomes": [{"prediction_id": predicted["traffic"]["prediction_id"], "actual": 3.0}]}
    for _ in range(2):  # the second time nothing is new
        client_of(alice).post(f"{address}/outcomes", told)
    client_of(bob).delete(f"{address}/traffic")

    assert done() == [
        ("alice", "started", "traffic", "alpha:site-load"),
        ("alice", "told", "outcomes", "alpha:site-load"),
        ("bob", "ended", "traffic", "alpha:site-load"),
    ]
    started, ended = records_of_this_test().filter(kind="traffic").order_by("at")
    assert started.facts == ended.facts == {"split_id": split.json()["split_id"]}
    assert started.after == ended.before != ended.after
    assert len(AuditRecord.objects.get(verb="told", tenant_id="alpha", kind="outcomes").after) == 64


MLFLOW = "/ai/mlflow/api/2.0/mlflow"
ARTIFACTS = "/ai/mlflow/api/2.0/mlflow-artifacts/artifacts"


def begin_run(client: APIClient) -> str:
    return str(client.post(f"{MLFLOW}/runs/create", {"experiment_id": "0"}).json()["run"]["info"]["run_id"])


def test_what_an_mlflow_client_begins_and_ends_is_told(client_of: ClientOf, alice: Principal) -> None:
    client = client_of(alice)

    run = begin_run(client)
    client.post(f"{MLFLOW}/runs/log-metric", {"run_id": run, "key": "mae", "value": 2.0})
    client.post(f"{MLFLOW}/runs/log-parameter", {"run_id": run, "key": "depth", "value": "7"})
    for _ in range(2):  # the second time nothing changes
        ended = client.post(f"{MLFLOW}/runs/update", {"run_id": run, "status": "FINISHED", "end_time": 1})
        assert ended.status_code == 200

    assert done() == [("alice", "created", "run", run), ("alice", "changed", "run", run)]
    created, changed = AuditRecord.objects.for_tenant("alpha").order_by("at")
    assert changed.facts == {"status": ["RUNNING", "FINISHED"]}
    assert "" != created.after != changed.before != changed.after  # the notes between are in `before`


def test_what_is_noted_of_a_run_that_is_over_is_told(client_of: ClientOf, alice: Principal) -> None:
    client = client_of(alice)
    run = begin_run(client)
    client.post(f"{MLFLOW}/runs/update", {"run_id": run, "status": "FINISHED"})

    client.post(f"{MLFLOW}/runs/log-metric", {"run_id": run, "key": "mae", "value": 1.0})
    client.post(f"{MLFLOW}/runs/set-tag", {"run_id": run, "key": "verdict", "value": "good"})

    ended, metric, tag = AuditRecord.objects.for_tenant("alpha").filter(verb="changed").order_by("at")
    assert (metric.object_id, metric.before, tag.before) == (run, ended.after, metric.after)


def test_what_is_told_of_a_logged_model_is_told(client_of: ClientOf, alice: Principal) -> None:
    client = client_of(alice)
    model = client.post(f"{MLFLOW}/logged-models", {"experiment_id": "0", "name": "model"}).json()["model"]
    key = model["info"]["model_id"]

    client.patch(f"{MLFLOW}/logged-models/{key}/tags", {"tags": [{"key": "a", "value": "b"}]})
    client.patch(f"{MLFLOW}/logged-models/{key}", {"model_id": key, "status": "LOGGED_MODEL_READY"})

    assert [(verb, kind, name) for _, verb, kind, name in done()] == [
        ("created", "logged model", key),
        ("changed", "logged model", key),
        ("changed", "logged model", key),
    ]
    created, tagged, ready = AuditRecord.objects.for_tenant("alpha").order_by("at")
    assert (created.after, tagged.after) == (tagged.before, ready.before)


def test_a_file_that_is_uploaded_and_one_that_replaces_it_are_told(
    client_of: ClientOf, alice: Principal
) -> None:
    client = client_of(alice)
    path = f"runs/{begin_run(client)}/artifacts/plot.txt"

    for content in (b"one", b"another"):
        sent = client.put(f"{ARTIFACTS}/{path}", content, content_type="application/octet-stream")
        assert sent.status_code == 200

    one, another = (hashlib.sha256(content).hexdigest() for content in (b"one", b"another"))
    told = AuditRecord.objects.for_tenant("alpha").filter(kind="artifact").order_by("at")
    assert [(row.verb, row.object_id, row.before, row.after, row.facts) for row in told] == [
        ("stored", path, "", one, {"size_bytes": 3}),
        ("replaced", path, one, another, {"size_bytes": 7}),
    ]


def test_a_verdict_on_an_anomaly_is_told(client_of: ClientOf, alice: Principal) -> None:
    detection = make_detection_row(alice)

    body = {"timestamp": "2025-01-01T00:00:00Z", "is_true": False, "comment": "the dishwasher"}
    client_of(alice).post(f"/ai/anomaly/{detection.pk}/feedback", body)

    assert done() == [("alice", "judged", "detection", str(detection.pk))]
    assert "dishwasher" not in str(newest().facts)
    first = newest()
    assert first.before == ""
    client_of(alice).post(f"/ai/anomaly/{detection.pk}/feedback", {**body, "is_true": True})
    assert newest().before == first.after != newest().after


def test_an_export_and_a_feature_set_are_told(client_of: ClientOf, alice: Principal) -> None:
    make_readings(alice, [1.0, 2.0, 3.0])
    client = client_of(alice)
    window = {"start_time": "2025-01-01T00:00:00Z", "end_time": "2025-01-02T00:00:00Z"}

    asked = client.post(
        "/ai/features/export", {"tenant_id": "alpha", "feature_set": "forecast_basic", **window}
    )
    client.post(f"/ai/features/exports/{asked.json()['export_id']}/cancel", {})
    client.post(f"/ai/features/exports/{asked.json()['export_id']}/retry", {})
    client.post("/ai/features/sets", {"tenant_id": "alpha", "name": "mine", "features": ["lag_1h"]})
    client.delete("/ai/features/sets/mine")

    assert [(verb, kind) for who, verb, kind, _ in done() if who == "alice"] == [
        ("requested", "export"),
        ("cancelled", "export"),
        ("retried", "export"),
        ("defined", "feature set"),
        ("removed", "feature set"),
    ]
    cancelled, retried = AuditRecord.objects.filter(verb__in=("cancelled", "retried")).order_by("at")
    assert "" != cancelled.before != cancelled.after == retried.before != retried.after
    defined, removed = AuditRecord.objects.filter(kind="feature set").order_by("at")
    assert defined.after == removed.before != removed.after != ""


def test_a_command_is_told_under_the_name_of_who_runs_it(db: None, alice: Principal) -> None:
    version = make_version(alice)

    call_command("promote_model", str(version), to="archived", reason="old")

    found = newest()
    assert found.subject.startswith("command:")
    assert found.subject == f"command:{found.username}"


@pytest.fixture
def pages(db: None) -> Client:
    User.objects.create_superuser("root", password="a long password", tenant_id="alpha")
    client = Client()
    client.login(username="root", password="a long password")
    return client


def form_of(asset: Any) -> dict[str, Any]:
    return {
        "name": "Main",
        "kind": "load",
        "unit": "kW",
        "interval_minutes": 60,
        "timezone": "UTC",
        "asset_id": asset,
    }


def test_the_pages_are_told_as_well(pages: Client) -> None:
    pages.post("/admin/features/asset/add/", {**form_of("roof"), "tenant_id": "gamma"})
    (made,) = records_of_this_test().for_tenant("gamma")
    assert (made.username, made.verb, made.kind, made.object_id) == ("root", "created", "asset", "roof")
    pk = made.facts["pk"]

    pages.post(f"/admin/features/asset/{pk}/change/", {**form_of("roof"), "name": "Roof"})
    pages.post(f"/admin/features/asset/{pk}/delete/", {"post": "yes"})

    assert [(verb, kind) for _, verb, kind, _ in done("gamma")] == [
        ("created", "asset"),
        ("changed", "asset"),
        ("removed", "asset"),
    ]
    assert records_of_this_test().for_tenant("gamma").filter(verb="changed").get().before == made.after


def test_a_record_is_committed_with_its_change_or_not_at_all(client_of: ClientOf, alice: Principal) -> None:
    make_version(alice)
    before = ModelVersion.objects.get().stage

    answer = client_of(alice).put("/ai/models/alpha:site-load:v1.0.0/promote", {"target_stage": "staging"})

    assert answer.status_code == 409
    assert ModelVersion.objects.get().stage == before
    assert done() == []
