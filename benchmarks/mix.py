"""What the clients of `soak.py` ask: every family of routes, by weight, and which answers each expects."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx

from benchmarks.clients import JSON, MAKES, PATIENCE_S, Client, Families, history, register
from benchmarks.mix_mlflow import mlflow

NOBODYS = "00000000-0000-4000-8000-000000000000"

# The families. Each asks once, or a few times what belongs together.


def readings(client: Client, family: str) -> None:
    """New minutes of a meter of this client's; corrections of hours that all read; the same again; a file."""
    way = client.random.random()
    if way < 0.6:
        client.made += 15
        first = client.now - timedelta(days=7) + timedelta(minutes=client.made)
        new = [
            {"timestamp": (first + timedelta(minutes=step)).isoformat(), "value": client.random.gauss(60, 3)}
            for step in range(15)
        ]
        client.post(
            family, "/ai/features/readings", {"asset_id": f"minutes-{client.number}", "readings": new}
        )
    elif way < 0.9:
        seed = client.random.randrange(50)
        corrected = history(seed, client.now, 24)
        client.post(family, "/ai/features/readings", {"asset_id": client.asset, "readings": corrected})
    else:
        rows = "".join(f"{point['timestamp']},{point['value']}\n" for point in history(1, client.now, 48))
        path = f"/ai/features/readings?asset_id=file-{client.number}"
        client.ask(
            family,
            "POST",
            path,
            content=f"timestamp,value\n{rows}".encode(),
            headers={"Content-Type": "text/csv"},
        )


def weather(client: Client, family: str) -> None:
    at = client.now - timedelta(hours=client.random.randrange(200))
    told = [{"timestamp": at.isoformat(), "temperature": round(client.random.gauss(10, 5), 1)}]
    client.post(family, "/ai/features/weather", {"asset_id": client.asset, "readings": told})


def features_get(client: Client, family: str) -> None:
    body: dict[str, Any] = {
        "asset_id": client.asset,
        "feature_set": client.random.choice(["forecast_basic", "forecast_advanced", "anomaly_detection"]),
    }
    if client.random.random() < 0.7:  # as of an hour that others ask for too; else as of now
        body["timestamp"] = (client.now - timedelta(hours=client.random.randrange(48))).isoformat()
    client.post(family, "/ai/features/get", body)


def features_batch(client: Client, family: str) -> None:
    body = {"asset_ids": client.tenant.assets, "feature_set": "forecast_basic"}
    client.post(family, "/ai/features/get-batch", body)


def forecast_stored(client: Client, family: str) -> None:
    body = {
        "asset_id": client.asset,
        "forecast_type": "load",
        "horizon_hours": client.random.choice([24, 24, 24, 168]),
        "model_name": client.random.choice(["auto", "auto", "seasonal_naive", "linear", "prophet_like"]),
    }
    _remember(client.forecasts, client.post(family, "/ai/forecast", body), "forecast_id")


def forecast_body(client: Client, family: str) -> None:
    points = history(client.random.randrange(50), client.now, 336)
    body = {"asset_id": "elsewhere", "forecast_type": "price", "historical_data": points}
    _remember(client.forecasts, client.post(family, "/ai/forecast", body), "forecast_id")


def forecast_reads(client: Client, family: str) -> None:
    paths = ["/ai/forecasts?limit=20", "/ai/forecasts/quality", "/ai/forecasts/drift"]
    paths += [f"/ai/forecast/{pk}" for pk in client.forecasts[-1:]]
    client.ask(family, "GET", client.random.choice(paths))


def anomaly(client: Client, family: str) -> None:
    body: dict[str, Any] = {
        "asset_id": client.asset,
        "method": client.random.choice(
            ["z_score", "iqr", "isolation_forest", "local_outlier_factor", "prophet_decomposition"]
        ),
    }
    if client.random.random() < 0.7:
        points = history(client.random.randrange(50), client.now, 168)
        points[100]["value"] *= 5
        body["time_series"] = points
    else:
        body["lookback_hours"] = 168
    answer = client.post(family, "/ai/anomaly", body)
    _remember(client.detections, answer, "detection_id")
    found = answer.json().get("anomalies", []) if answer.status_code == 200 else []
    if found and client.random.random() < 0.3:
        path = f"/ai/anomaly/{client.detections[-1]}/feedback"
        client.post(family, path, {"timestamp": found[0]["timestamp"], "is_true": True}, MAKES)


def anomaly_reads(client: Client, family: str) -> None:
    paths = ["/ai/anomalies?limit=20", "/ai/anomaly/alerts"]
    paths += [f"/ai/anomaly/{pk}" for pk in client.detections[-1:]]
    client.ask(family, "GET", client.random.choice(paths))


def watches(client: Client, family: str) -> None:
    if client.random.random() < 0.7:
        client.ask(family, "GET", "/ai/anomaly/watches")
        return
    body = {"asset_id": client.asset, "method": "z_score", "every_minutes": 5}
    made = client.post(family, "/ai/anomaly/watches", body, MAKES)
    if made.status_code == 201:
        path = f"/ai/anomaly/watches/{made.json()['watch_id']}"
        client.ask(family, "GET", path)
        client.ask(family, "POST", f"{path}/test", frozenset({422}), json={})  # it has no webhook
        client.ask(family, "PATCH", path, json={"minimum_severity": "high"})
        client.ask(family, "DELETE", path, MAKES)


def devices(client: Client, family: str) -> None:
    way = client.random.random()
    if way < 0.08:
        trained = client.ask(family, "POST", "/ml/anomalies/train/device", MAKES, json={})
        if trained.status_code in MAKES:
            client.ask(family, "GET", f"/ml/anomalies/runs/{trained.json()['run_id']}")
    elif way < 0.7:
        client.ask(family, "GET", "/ml/anomalies/detect/device?hours=24")
    else:
        client.ask(family, "GET", "/ml/anomalies/model-info/device")


def predict(client: Client, family: str) -> None:
    body: dict[str, Any] = {"input": client.row()}
    if client.random.random() < 0.1:
        body["options"] = {"includeFeatureImportance": True}
    answer = client.post(family, f"/ai/models/{client.tenant.model}:production/predict", body)
    told = answer.json().get("prediction_id") if answer.status_code == 200 else None
    if told and client.random.random() < 0.1:
        outcome = {"outcomes": [{"prediction_id": told, "actual": 1.0}]}
        client.post(family, f"/ai/models/{client.tenant.model}/outcomes", outcome, MAKES)


def batch_predict(client: Client, family: str) -> None:
    body = {"inputs": [client.row() for _ in range(200)]}
    client.post(family, f"/ai/models/{client.tenant.model}:production/batch-predict", body)


def registry(client: Client, family: str) -> None:
    """A version from its upload to its end."""
    client.made += 1
    model, version = f"churn-{client.number}", f"v1.0.{client.made}"
    path = f"/ai/models/{client.tenant.name}:{model}:{version}"
    if register(client, family, model, version).status_code != 201:
        return
    gates = f"/ai/models/{client.tenant.name}:{model}/gates"
    client.ask(family, "PUT", gates, json={"required_metrics": ["mae"]})
    client.ask(family, "GET", gates)
    client.ask(family, "POST", f"{path}/approve", json={"reason": "looked at"})
    told = {"target_stage": "production", "reason": "newer"}
    client.ask(family, "PUT", f"{path}/promote", json=told)
    client.post(family, f"{path}/predict", {"input": client.row()})
    client.ask(family, "DELETE", f"{path}?force=true", MAKES)


def registry_reads(client: Client, family: str) -> None:
    model = client.tenant.model
    paths = ["/ai/models/", f"/ai/models/{model}:v1.0.0", f"/ai/models/{model}/production"]
    paths += [f"/ai/models/{model}/traffic", f"/ai/models/{model}:v1.0.0/artifact"]
    client.ask(family, "GET", client.random.choice(paths))


def explain(client: Client, family: str) -> None:
    way = client.random.random()
    if way < 0.15:
        body: dict[str, Any] = {"model_name": "site-load", "dataset": [client.row() for _ in range(50)]}
        answer = client.post(family, "/ai/explain/global", body, MAKES)
    elif way < 0.3 and client.forecasts:
        answer = client.post(family, "/ai/explain", {"prediction_id": client.forecasts[-1], "step": 3}, MAKES)
    elif way < 0.45 and client.detections:
        # nothing to explain where nothing was flagged
        body = {"prediction_id": client.detections[-1]}
        answer = client.post(family, "/ai/explain", body, MAKES | {404, 422})
    else:
        body = {"model_name": "site-load", "input_features": client.row()}
        answer = client.post(family, "/ai/explain", body, MAKES)
    if answer.status_code in MAKES and client.random.random() < 0.3:
        client.ask(family, "GET", f"/ai/explain/{answer.json()['explanation_id']}")


def exports(client: Client, family: str) -> None:
    if not client.exports:
        since = client.now - timedelta(days=client.random.choice([3, 14, 30]))
        body = {
            "feature_set": "forecast_basic",
            "start_time": since.isoformat(),
            "end_time": client.now.isoformat(),
        }
        made = client.post(family, "/ai/features/export", body, MAKES)
        _remember(client.exports, made, "export_id")
        if client.exports and client.random.random() < 0.2:
            # a worker may be quicker; what ended well is neither cancelled nor tried again
            path = f"/ai/features/exports/{client.exports[-1]}"
            client.ask(family, "POST", f"{path}/cancel", MAKES | {409}, json={})
            client.ask(family, "POST", f"{path}/retry", MAKES | {409}, json={})
        return
    path = f"/ai/features/exports/{client.exports[0]}"
    told = client.ask(family, "GET", path).json()
    if told.get("status") == "completed":
        client.ask(family, "GET", f"{path}/download")
    if told.get("status") not in ("pending", "processing"):
        client.exports.pop(0)
    client.ask(family, "GET", "/ai/features/exports?limit=5")


def reads(client: Client, family: str) -> None:
    paths = ["/ai/features/assets", f"/ai/features/assets/{client.asset}", "/ai/features/sets"]
    answer = client.ask(family, "GET", client.random.choice([*paths, "/ai/audit?limit=20"]))
    if records := answer.json().get("records"):
        client.ask(family, "GET", f"/ai/audit/{client.random.choice(records)['id']}")


def descriptions(client: Client, family: str) -> None:
    """What people say of an asset, and a feature set of this client's from its definition to its end."""
    client.ask(family, "PATCH", f"/ai/features/assets/{client.asset}", json={"name": "A meter"})
    name = f"set_of_{client.number}"
    body = {"name": name, "features": ["hour_of_day", "lag_24h"]}
    client.post(family, "/ai/features/sets", body, MAKES)
    client.ask(family, "GET", f"/ai/features/sets/{name}")
    client.ask(family, "DELETE", f"/ai/features/sets/{name}", MAKES)


def admin_pages(client: Client, family: str) -> None:
    """The lists, and the page of something that stands in one."""
    if client.pages is None:
        client.pages = httpx.Client(base_url=client.address, timeout=PATIENCE_S, follow_redirects=True)
        client.ask(family, "GET", "/admin/login/", by=client.pages)
        form = {"username": "admin", "password": client.password, "next": "/admin/"}
        form["csrfmiddlewaretoken"] = client.pages.cookies.get("csrftoken") or ""
        client.ask(family, "POST", "/admin/login/", by=client.pages, data=form)
    lists = ["features/asset", "forecasting/forecast", "anomalies/detection", "registry/registeredmodel"]
    path = f"/admin/{client.random.choice([*lists, 'omarino/auditrecord', 'anomalies/watch'])}/"
    shown = client.ask(family, "GET", client.random.choice(["/admin/", path]), by=client.pages)
    if rows := re.findall(rf'href="({path}[^"/]+/change/)', shown.text):
        # somebody may have deleted it meanwhile: then one is led back to the list
        client.ask(family, "GET", client.random.choice(rows), by=client.pages)


def health(client: Client, family: str) -> None:
    path = client.random.choice(
        ["/health", "/api/health", "/health/detailed", "/openapi.json", "/docs", "/redoc"]
    )
    client.ask(family, "GET", path, by=client.bare)


def metrics(client: Client, family: str) -> None:
    client.ask(family, "GET", "/metrics", by=client.bare)


def refusals(client: Client, family: str) -> None:
    """What must be refused, and is neither an error of ours nor cheaper to get wrong."""
    asked = {"asset_id": client.asset, "forecast_type": "load"}
    way = client.random.randrange(5)
    if way == 0:
        client.ask(family, "GET", "/ai/forecasts", frozenset({401}), by=client.bare)
    elif way == 1:
        headers = {"Authorization": f"Bearer {client.tenant.reader}"}
        client.ask(
            family, "POST", "/ai/forecast", frozenset({403}), by=client.bare, json=asked, headers=headers
        )
    elif way == 2:
        client.ask(family, "GET", f"/ai/forecast/{NOBODYS}", frozenset({404}))
    elif way == 3:
        client.post(family, "/ai/forecast", {**asked, "horizon_hours": 100_000}, frozenset({422}))
    else:
        client.ask(family, "POST", "/ai/forecast", frozenset({400}), content=b'{"asset_id": ', headers=JSON)


def _remember(known: list[str], answer: httpx.Response, name: str) -> None:
    if answer.status_code in MAKES:
        known[:] = [*known[-20:], str(answer.json()[name])]


FAMILIES: Families = {
    "readings": (18, readings),
    "weather": (4, weather),
    "features, one asset": (24, features_get),
    "features, a batch": (5, features_batch),
    "forecasts, stored readings": (6, forecast_stored),
    "forecasts, readings in the body": (4, forecast_body),
    "forecasts, read": (8, forecast_reads),
    "anomalies": (6, anomaly),
    "anomalies, read": (4, anomaly_reads),
    "watches": (4, watches),
    "devices": (4, devices),
    "predictions": (22, predict),
    "predictions, batches": (4, batch_predict),
    "models, upload to deletion": (0.7, registry),
    "models, read": (6, registry_reads),
    "explanations": (4, explain),
    "exports": (3, exports),
    "MLflow's API": (2, mlflow),
    "assets, sets, audit, read": (6, reads),
    "assets, sets, described": (1, descriptions),
    "pages": (4, admin_pages),
    "health and documents": (4, health),
    "metrics": (1, metrics),
    "refusals": (5, refusals),
}


# Routes of the URLconf that nobody here asks, and why. tests/architecture/test_soak_mix.py holds the rest against it.
LEFT_OUT = {
    "PUT /ai/models/<str:model_id>/artifact": "registering sends the same bytes through the same door, all the time",
    "DELETE /ai/models/<str:model_id>/traffic": "it would end the split that all clients of a tenant predict by",
}
