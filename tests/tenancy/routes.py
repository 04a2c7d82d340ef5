"""Every route of the service, found in its URLconf, and what a test needs to know of those that want more than a GET.

A new route is walked at once. If it has an id, or takes a body, its row or its body must be told here, else
`test_every_route_is_known` fails.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import numpy as np
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.views import APIView

from anomalies.device_actions import train_device
from anomalies.models import Detection, Watch
from anomalies.watch_actions import set_up_watch
from features.models import Asset, FeatureExport
from features.set_actions import define_set
from forecasting.models import DriftFlag, ForecastScore
from omarino import audit
from omarino.audit_models import AuditRecord
from omarino.authentication import Principal
from registry import traffic
from registry.mlflow import folders
from registry.models import ModelVersion, Stage, Tracked, TrafficSplit, TrainingRun
from tests.factories import (
    make_alert,
    make_asset,
    make_detection_row,
    make_drift_flag,
    make_explanation_row,
    make_export,
    make_forecast_row,
    make_readings,
    make_score_row,
    make_version,
)
from tests.registry.models_made import lightgbm_text

VERBS = ("get", "post", "put", "patch", "delete")
WRITING = ("post", "put", "patch")


def model_id(owner: Principal, *, stage: str = Stage.STAGING) -> dict[str, Any]:
    """The owner's one version, whichever routes ask for it."""
    row = ModelVersion.objects.for_tenant(owner.tenant_id).first() or make_version(
        owner, artifact=lightgbm_text(), stage=stage
    )
    ModelVersion.objects.filter(pk=row.pk).update(stage=stage)
    return {"model_id": str(row)}


def model_name(owner: Principal) -> dict[str, Any]:
    return {"model_id": model_id(owner, stage=Stage.PRODUCTION)["model_id"].rpartition(":")[0]}


def score(owner: Principal) -> dict[str, Any]:
    return {"pk": (ForecastScore.objects.for_tenant(owner.tenant_id).first() or make_score_row(owner)).pk}


def drift_flag(owner: Principal) -> dict[str, Any]:
    return {"pk": (DriftFlag.objects.for_tenant(owner.tenant_id).first() or make_drift_flag(owner)).pk}


def detection(owner: Principal) -> dict[str, Any]:
    """The owner's one detection, whichever routes ask for it."""
    row = Detection.objects.for_tenant(owner.tenant_id).first() or make_detection_row(owner)
    return {"pk": row.pk}


def watch(owner: Principal) -> dict[str, Any]:
    """The owner's one watch, whichever routes ask for it."""
    asset(owner)
    row = Watch.objects.for_tenant(owner.tenant_id).first() or set_up_watch(
        tenant_id=owner.tenant_id,
        asset_id="meter-of-the-owner",
        created_by=owner.subject,
        sensitivity=3.0,
        webhook_url="https://receiver.invalid/",
    )
    if not row.alerts.exists():
        make_alert(row)
    return {"pk": row.pk}


def device(owner: Principal) -> dict[str, Any]:
    """The owner's one device, with a detector in production."""
    name = "device-of-the-owner"
    if not Asset.objects.for_tenant(owner.tenant_id).filter(asset_id=name).exists():
        random = np.random.default_rng(0)
        for metric in ("cpu_usage", "temperature"):
            make_readings(owner, random.normal(50, 5, 120), asset_id=name, metric=metric)
        train_device(tenant_id=owner.tenant_id, device=name, hours=168, contamination=0.01, by=owner.subject)
    return {"device": name}


def training_run(owner: Principal) -> dict[str, Any]:
    device(owner)
    return {"pk": TrainingRun.objects.for_tenant(owner.tenant_id).latest("requested_at").pk}


def asset(owner: Principal) -> dict[str, Any]:
    """The owner's one asset, whichever routes ask for it."""
    name = "meter-of-the-owner"
    known = Asset.objects.for_tenant(owner.tenant_id).filter(asset_id=name).first()
    return {"asset_id": (known or make_asset(owner, asset_id=name)).asset_id}


def feature_set(owner: Principal) -> dict[str, Any]:
    row, _ = define_set(
        tenant_id=owner.tenant_id, name="of_the_owner", features=["hour_of_day"], made_by=owner.subject
    )
    return {"name": row.name}


def export(owner: Principal, *, status: str = "pending") -> dict[str, Any]:
    """The owner's one export in this state, whichever routes ask for it."""
    row = FeatureExport.objects.for_tenant(owner.tenant_id).first() or make_export(owner)
    ended = {"row_count": 1, "file_size_bytes": 4, "sha256": "0" * 64} if status == "completed" else {}
    FeatureExport.objects.filter(pk=row.pk).update(status=status, **ended)
    if status == "completed":
        storages["exports"].delete(row.storage_path)
        storages["exports"].save(row.storage_path, ContentFile(b"rows"))
    return {"export_id": row.pk}


def audit_record(owner: Principal) -> dict[str, Any]:
    """The newest record of the owner's tenant."""
    audit.record(owner.tenant_id, "stored", "readings", "meter-of-the-owner")
    return {"pk": AuditRecord.objects.for_tenant(owner.tenant_id)[0].pk}


# by the name of the route: makes a row of somebody's and gives what stands for it in the address

ROWS: dict[str, Callable[[Principal], dict[str, Any]]] = {
    "forecast": lambda owner: {"pk": make_forecast_row(owner).pk},
    "forecast-quality": score,
    "drift-flags": drift_flag,
    "explanation": lambda owner: {"pk": make_explanation_row(owner).pk},
    "explain": model_id,
    "explain-globally": model_id,
    **dict.fromkeys(("detection", "anomaly-feedback"), detection),
    **dict.fromkeys(("watch", "try-webhook"), watch),
    **dict.fromkeys(("train-device", "detect-on-device", "device-model-info"), device),
    "training-run": training_run,
    **dict.fromkeys(("export", "cancel-export"), export),
    "download-export": lambda owner: export(owner, status="completed"),
    "retry-export": lambda owner: export(owner, status="failed"),
    **dict.fromkeys(("asset", "get-features", "get-features-batch", "watches"), asset),
    "feature-set": feature_set,
    "audit-record": audit_record,
    **dict.fromkeys(
        ("model-version", "model-artifact", "promote-model", "approve-model", "predict", "batch-predict"),
        model_id,
    ),
    **dict.fromkeys(("model-gates", "model-production"), model_name),
}
SPLIT = uuid.UUID(int=1)


def shared_model(owner: Principal) -> dict[str, Any]:
    """The owner's model in production, and a challenger that shares its traffic."""
    name = f"{owner.tenant_id}:site-load"
    if TrafficSplit.objects.filter(pk=SPLIT).exists():
        return {"model_id": name}
    model = make_version(owner, artifact=lightgbm_text(), stage=Stage.PRODUCTION).model
    challenger = make_version(owner, version="v1.1.0", artifact=lightgbm_text(5))
    model.split = TrafficSplit.objects.create(
        id=SPLIT,
        tenant_id=owner.tenant_id,
        model=model,
        challenger=challenger,
        mode="split",
        share=0.5,
        production_version="v1.0.0",
        challenger_version="v1.1.0",
        started_by=owner.username,
    )
    model.save(update_fields=["split"])
    return {"model_id": name}


def prediction_id() -> str:
    return signing.dumps(
        [SPLIT.hex, "production", uuid.UUID(int=2).hex, 1.5], salt=traffic.SALT, compress=True
    )


RUN, LOGGED = "0" * 31 + "1", "m-" + "0" * 31 + "1"


def mlflow_model(owner: Principal) -> dict[str, Any]:
    """The owner's one model, in production; what MLflow's calls name it by."""
    model_id(owner, stage=Stage.PRODUCTION)
    return {"name": "site-load", "version": "1", "alias": "production"}


def mlflow_run(owner: Principal) -> dict[str, Any]:
    """The owner's one run, its model logged and uploaded; the model it is registered for is there as well."""
    model_id(owner)
    for kind, key in ((Tracked.Kind.RUN, RUN), (Tracked.Kind.MODEL, LOGGED)):
        if not Tracked.objects.filter(id=key).exists():
            Tracked.objects.create(tenant_id=owner.tenant_id, kind=kind, id=key, name="run")
    path = f"runs/{RUN}/artifacts/model"
    folders.keep(owner.tenant_id, f"{path}/model.lgb", [lightgbm_text()])
    return {"run_id": RUN, "metric_key": "mae", "key": LOGGED, "path": f"{path}/model.lgb"}


ROWS |= {
    **dict.fromkeys(("model-traffic", "model-outcomes"), shared_model),
    **dict.fromkeys(
        (
            *("mlflow-model", "mlflow-latest", "mlflow-alias", "mlflow-version", "mlflow-transition"),
            "mlflow-download-uri",
        ),
        mlflow_model,
    ),
    "mlflow-delete-version": model_id,
    **dict.fromkeys(
        (
            *("mlflow-create-version", "mlflow-run", "mlflow-update-run", "mlflow-log-metric"),
            *("mlflow-metric-history", "mlflow-log-parameter", "mlflow-log-batch", "mlflow-set-tag"),
            *("mlflow-outputs", "mlflow-logged-model", "mlflow-logged-model-tags", "mlflow-artifacts"),
            "mlflow-artifact",
        ),
        mlflow_run,
    ),
}

# by the name of the route and its verb: what names its row in the query

QUERIES: dict[tuple[str, str], tuple[str, ...]] = {
    ("mlflow-model", "get"): ("name",),
    ("mlflow-version", "get"): ("name", "version"),
    ("mlflow-download-uri", "get"): ("name", "version"),
    ("mlflow-alias", "get"): ("name", "alias"),
    ("mlflow-run", "get"): ("run_id",),
    ("mlflow-metric-history", "get"): ("run_id", "metric_key"),
    ("mlflow-artifacts", "get"): ("path",),
}
FEATURES = {"a": 1, "b": 2, "c": 3, "d": 4}

DAY = [
    {"timestamp": f"2025-01-{day:02}T{hour:02}:00:00Z", "value": hour}
    for day in range(1, 15)
    for hour in range(24)
]

# by the name of the route and its verb: a body that is served, but for the tenant

BODIES: dict[tuple[str, str], dict[str, Any] | Callable[[], bytes]] = {
    ("make-forecast", "post"): {"asset_id": "meter", "forecast_type": "load", "historical_data": DAY},
    ("explain", "post"): {"model_name": "site-load", "input_features": FEATURES},
    ("explain-globally", "post"): {"model_name": "site-load", "dataset": [FEATURES]},
    ("detect-anomalies", "post"): {"asset_id": "meter", "time_series": DAY},
    ("anomaly-feedback", "post"): {"timestamp": "2025-01-01T00:00:00Z", "is_true": False},
    ("train-device", "post"): {},
    ("watches", "post"): {"asset_id": "meter-of-the-owner"},
    ("watch", "patch"): {"is_active": False},
    ("try-webhook", "post"): {},
    ("store-readings", "post"): {"asset_id": "meter", "readings": DAY},
    ("store-weather", "post"): {
        "asset_id": "meter",
        "readings": [{"timestamp": "2025-01-01T00:00:00Z", "temperature": 3.5}],
    },
    ("get-features", "post"): {"asset_id": "meter-of-the-owner", "feature_set": "forecast_basic"},
    ("get-features-batch", "post"): {"asset_ids": ["meter-of-the-owner"], "feature_set": "forecast_basic"},
    ("feature-sets", "post"): {"name": "of_the_tenant", "features": ["hour_of_day", "lag_24h"]},
    ("asset", "patch"): {"kind": "generation"},
    ("request-export", "post"): {
        "feature_set": "forecast_basic",
        "start_time": "2025-01-01T00:00:00Z",
        "end_time": "2025-02-01T00:00:00Z",
    },
    ("cancel-export", "post"): {},
    ("retry-export", "post"): {},
    ("register-model", "post"): {
        "model_name": "other-load",
        "version": "v1.0.0",
        "metadata": {"framework": "lightgbm"},
    },
    ("model-artifact", "put"): lightgbm_text,
    ("promote-model", "put"): {"target_stage": "archived"},
    ("approve-model", "post"): {},
    ("model-gates", "put"): {"required_metrics": ["mae"]},
    ("predict", "post"): {"input": FEATURES},
    ("batch-predict", "post"): {"inputs": [FEATURES]},
    ("model-traffic", "put"): {"mode": "shadow", "challenger": "v1.1.0"},
    ("model-outcomes", "post"): {"outcomes": [{"prediction_id": prediction_id(), "actual": 2.0}]},
    ("mlflow-create-model", "post"): {"name": "other-load"},
    ("mlflow-latest", "post"): {"name": "site-load"},
    ("mlflow-create-version", "post"): {"name": "site-load", "source": f"runs:/{RUN}/model"},
    ("mlflow-delete-version", "delete"): {"name": "site-load", "version": "1"},
    ("mlflow-transition", "post"): {"name": "site-load", "version": "1", "stage": "Archived"},
    ("mlflow-alias", "post"): {"name": "site-load", "alias": "production", "version": "1"},
    ("mlflow-alias", "delete"): {"name": "site-load", "alias": "production"},
    ("mlflow-create-run", "post"): {"experiment_id": "0"},
    ("mlflow-update-run", "post"): {"run_id": RUN, "status": "FINISHED"},
    ("mlflow-log-metric", "post"): {"run_id": RUN, "key": "mae", "value": 1.5},
    ("mlflow-log-parameter", "post"): {"run_id": RUN, "key": "num_leaves", "value": "7"},
    ("mlflow-set-tag", "post"): {"run_id": RUN, "key": "by", "value": "hand"},
    ("mlflow-log-batch", "post"): {"run_id": RUN, "metrics": [{"key": "mae", "value": 1.5}]},
    ("mlflow-outputs", "post"): {"run_id": RUN},
    ("mlflow-logged-models", "post"): {"name": "model"},
    ("mlflow-search-logged-models", "post"): {},
    ("mlflow-logged-model", "patch"): {"status": "LOGGED_MODEL_READY"},
    ("mlflow-logged-model-tags", "patch"): {"tags": [{"key": "by", "value": "hand"}]},
    ("mlflow-artifact", "put"): lightgbm_text,
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address."""

    path: str  # as in the URLconf: ai/forecast/<uuid:pk>
    name: str
    verb: str
    view: Any

    def __str__(self) -> str:
        return f"{self.verb.upper()} /{self.path}"

    @property
    def has_an_id(self) -> bool:
        return "<" in self.path or (self.name, self.verb) in QUERIES

    @property
    def is_known(self) -> bool:
        """Whether a row and a body are told above, where it wants them."""
        has_body = self.verb not in WRITING or (self.name, self.verb) in BODIES
        return has_body and (not self.has_an_id or self.name in ROWS)

    def url(self, names: Mapping[str, Any] | None = None) -> str:
        """Its address with these names; without any, that of a row that is not there."""
        wanted = re.findall(r"<(?:(\w+):)?(\w+)>", self.path)
        nothing: dict[str, Any] = {
            name: uuid.uuid4() if kind == "uuid" else "no-such-row" for kind, name in wanted
        }
        in_path = {name: (names or {}).get(name, nothing[name]) for name in nothing}
        asked = {
            name: (names or {}).get(name, "no-such-row") for name in QUERIES.get((self.name, self.verb), ())
        }
        return reverse(self.name, kwargs=in_path) + (f"?{urlencode(asked)}" if asked else "")

    def prepared(self, owner: Principal) -> dict[str, Any]:
        """What it needs is there, named in its address or in its body; the names of its address."""
        names = ROWS[self.name](owner) if self.name in ROWS else {}
        return names if self.has_an_id else {}

    def roles(self) -> list[frozenset[str]]:
        """Of each permission it asks for, the roles of which one is needed."""
        view = self.view()
        view.request = SimpleNamespace(method=self.verb.upper())
        return [getattr(permission, "roles", frozenset()) for permission in view.get_permissions()]

    def body(self, tenant_id: str) -> dict[str, Any] | bytes | None:
        told = BODIES.get((self.name, self.verb))
        if callable(told):
            return told()
        return None if told is None else {"tenant_id": tenant_id, **told}


def every_address(resolver: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from every_address(entry, prefix + str(entry.pattern))
        else:
            yield prefix + str(entry.pattern), entry


def every_route() -> list[Route]:
    """All methods of all addresses, the pages of the admin apart."""
    return [
        Route(path, str(entry.name), verb, view)
        for path, entry in every_address()
        if not path.removeprefix("^").startswith("admin/")
        for view in [getattr(entry.callback, "cls", getattr(entry.callback, "view_class", entry.callback))]
        for verb in VERBS
        if not (isinstance(view, type) and issubclass(view, APIView)) or hasattr(view, verb)
    ]


OF_THE_SERVICE = {
    "audit",  # to which making the rows of the others adds
    "feature-sets",
    "mlflow-experiment",
    "mlflow-experiment-by-name",
}  # lists that hold what every tenant has as well
OF_TWO_ROWS = {"model-traffic", "model-outcomes"}  # they make a second version of the owner's model
PUBLIC = {"health", "api/health", "health/detailed", "metrics", "openapi.json", "docs", "redoc"}


def private_routes() -> list[Route]:
    return [route for route in every_route() if route.path not in PUBLIC]


def known_routes() -> list[Route]:
    return [route for route in private_routes() if route.is_known]


def routes_with_an_id() -> list[Route]:
    return [route for route in known_routes() if route.has_an_id]
