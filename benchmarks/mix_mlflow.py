"""What an MLflow client asks, in the mix of `soak.py`: a run, its files, a model of them, and the way to its end."""

from __future__ import annotations

from benchmarks.clients import Client

API = "/ai/mlflow/api/2.0/mlflow"
OCTETS = "application/octet-stream"
FILES = "/ai/mlflow/api/2.0/mlflow-artifacts/artifacts"


def tracked(client: Client, family: str) -> None:
    """A run with what is told of it; often it is left unfinished, as people do."""
    run = started(client, family)
    if run is None:
        return
    metric = {"key": "mae", "value": 1.5, "timestamp": 1, "step": 0}
    client.ask(family, "POST", f"{API}/runs/log-metric", json={"run_id": run, **metric})
    client.ask(family, "GET", f"{API}/runs/get?run_id={run}")
    if client.random.random() < 0.5:
        return
    parameter = {"run_id": run, "key": "num_leaves", "value": "7"}
    client.ask(family, "POST", f"{API}/runs/log-parameter", json=parameter)
    client.ask(family, "POST", f"{API}/runs/log-batch", json={"run_id": run, "metrics": [metric]})
    client.ask(family, "POST", f"{API}/runs/set-tag", json={"run_id": run, "key": "by", "value": "soak"})
    client.ask(family, "GET", f"{API}/metrics/get-history?run_id={run}&metric_key=mae")
    client.ask(family, "POST", f"{API}/runs/outputs", json={"run_id": run})
    client.ask(family, "POST", f"{API}/runs/update", json={"run_id": run, "status": "FINISHED"})


def logged_model(client: Client, family: str) -> None:
    made = client.ask(family, "POST", f"{API}/logged-models", json={"name": "model", "experiment_id": "0"})
    if made.status_code != 200:
        return
    key = made.json()["model"]["info"]["model_id"]
    tags = {"tags": [{"key": "by", "value": "soak"}]}
    client.ask(family, "PATCH", f"{API}/logged-models/{key}/tags", json=tags)
    client.ask(family, "PATCH", f"{API}/logged-models/{key}", json={"status": "LOGGED_MODEL_READY"})
    client.ask(family, "GET", f"{API}/logged-models/{key}")
    client.ask(family, "POST", f"{API}/logged-models/search", json={"experiment_ids": ["0"]})


def registered(client: Client, family: str) -> None:
    """A model from a run's files to production, and away again."""
    run = started(client, family)
    if run is None:
        return
    client.made += 1
    name = f"tracked-{client.number}-{client.made}"
    file = f"runs/{run}/artifacts/model/model.lgb"
    client.ask(
        family, "PUT", f"{FILES}/{file}", content=client.tenant.artifact, headers={"Content-Type": OCTETS}
    )
    client.ask(family, "GET", f"{FILES}?path=runs/{run}/artifacts/model")
    client.ask(family, "GET", f"{FILES}/{file}")
    client.ask(family, "POST", f"{API}/registered-models/create", json={"name": name})
    source = {"name": name, "source": f"runs:/{run}/model", "run_id": run}
    made = client.ask(family, "POST", f"{API}/model-versions/create", json=source)
    if made.status_code != 200:
        return
    version = {"name": name, "version": made.json()["model_version"]["version"]}
    named = f"name={name}&version={version['version']}"
    client.ask(family, "GET", f"{API}/model-versions/get?{named}")
    client.ask(family, "GET", f"{API}/model-versions/get-download-uri?{named}")
    alias = {"name": name, "alias": "production"}
    client.ask(
        family, "POST", f"{API}/registered-models/alias", json={**alias, "version": version["version"]}
    )
    client.ask(family, "GET", f"{API}/registered-models/alias?name={name}&alias=production")
    client.ask(family, "POST", f"{API}/registered-models/get-latest-versions", json={"name": name})
    way = client.random.random()
    if way < 0.5:
        client.ask(family, "DELETE", f"{API}/registered-models/alias", json=alias)
    else:
        staged = {**version, "stage": "Archived"}
        client.ask(family, "POST", f"{API}/model-versions/transition-stage", json=staged)
    client.ask(family, "DELETE", f"{API}/model-versions/delete", json=version)


def looked_up(client: Client, family: str) -> None:
    paths = [f"{API}/experiments/get?experiment_id=0", f"{API}/registered-models/get?name=site-load"]
    paths += [f"{API}/experiments/get-by-name?experiment_name=Default"]
    paths += [f"{API}/registered-models/search", f"{API}/model-versions/search"]
    client.ask(family, "GET", client.random.choice(paths))


def started(client: Client, family: str) -> str | None:
    made = client.ask(family, "POST", f"{API}/runs/create", json={"experiment_id": "0"})
    return str(made.json()["run"]["info"]["run_id"]) if made.status_code == 200 else None


def mlflow(client: Client, family: str) -> None:
    (ask,) = client.random.choices((tracked, logged_model, registered, looked_up), (4, 1, 1, 3))
    ask(client, family)
