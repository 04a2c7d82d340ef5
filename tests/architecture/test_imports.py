"""What may be imported where, tried by importing; import-linter reads the same contracts in the source."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from typing import Any

from django.conf import settings

# Arrays in, arrays out: what docs/architecture.md marks with a star, as far as it is there
STARRED = {
    *("explanations.attribution", "explanations.exact", "explanations.drawing", "explanations.wording"),
    *("features.catalog", "features.compute", "registry.formats"),
    *("forecasting.horizon", "forecasting.intervals", "forecasting.metrics"),
    *("forecasting.forecasters", "omarino.errors", "omarino.env", "omarino.strict_json"),
}


def contract(name: str) -> dict[str, Any]:
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    found: dict[str, Any] = next(entry for entry in contracts if entry["id"] == name)
    return found


def in_a_fresh_process(script: str, told: Any) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(told),
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_contract_names_every_module_that_is_apart_from_the_framework() -> None:
    there = {name for name in STARRED if importlib.util.find_spec(name) is not None}

    assert there <= set(contract("pure")["source_modules"])
    assert {"django", "rest_framework", "celery"} <= set(contract("pure")["forbidden_modules"])


def test_the_knowledge_imports_where_there_is_no_framework() -> None:
    pure = contract("pure")

    imported = in_a_fresh_process(
        """
import importlib, json, pkgutil, sys

told = json.load(sys.stdin)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in told["absent"]:
            raise ModuleNotFoundError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Absent())
for name in told["modules"]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as missing:
            if missing.name != "torch":  # an extra that is installed for tests/torch alone
                raise
print(json.dumps(sorted(sys.modules)))
""",
        {"modules": pure["source_modules"], "absent": pure["forbidden_modules"]},
    )

    assert set(pure["source_modules"]) <= set(imported)
    assert "forecasting.forecasters.gradient_boosting" in imported


def test_shap_is_reached_by_the_workers_task_alone() -> None:
    protected = contract("worker")

    assert protected["protected_modules"] == ["explanations.model_agnostic"]
    assert protected["allowed_importers"] == ["explanations.tasks"]
    assert contract("light")["ignore_imports"] == ["explanations.model_agnostic -> shap"]
    assert set(contract("light")["source_modules"]) == {
        path.parent.name
        for path in settings.BASE_DIR.glob("*/__init__.py")
        if (path.parent / "apps.py").exists()
    }


def test_a_web_process_holds_neither_shap_nor_what_draws_pictures() -> None:
    imported = in_a_fresh_process(
        """
import json, os, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    os.environ["DATA_DIR"] = os.environ["STATIC_ROOT"] = folder
    os.environ["DJANGO_SETTINGS_MODULE"] = "omarino.settings"
    import omarino.wsgi
    import omarino.celery
    from django.urls import get_resolver
    get_resolver().url_patterns
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
""",
        None,
    )

    assert {"explanations", "forecasting", "features", "rest_framework"} <= set(imported)
    assert set(imported).isdisjoint({"shap", "numba", "matplotlib", "tests"})
