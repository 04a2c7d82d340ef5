from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from registry.serving import CACHE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    """An empty storage of models for each test, and a process that has loaded none."""
    CACHE.clear()
    path = tmp_path / "models"
    kept = copy.deepcopy(settings.STORAGES)
    kept["models"] = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(path)},
    }
    settings.STORAGES = kept
    return path
