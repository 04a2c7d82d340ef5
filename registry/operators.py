"""For people at a command line: who they are, and a pickle of their own made into skops."""

from __future__ import annotations

import getpass
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import skops.io
from sklearn.base import BaseEstimator

from omarino.authentication import Principal
from omarino.permissions import ROLES
from registry.artifacts import CHUNK_BYTES
from registry.formats.base import ArtifactRefused


def operator(tenant_id: str) -> Principal:
    """Whoever runs a command acts for the tenant that it names."""
    name = getpass.getuser()
    return Principal(subject=f"command:{name}", tenant_id=tenant_id, roles=ROLES, username=name)


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def skops_from_pickle(path: Path) -> bytes:
    """Load a pickle, which runs whatever is in it, and write what it holds as skops. Only for an operator's own
    file, asked for by name: the service itself never does this."""
    try:
        model: Any = joblib.load(path)
    except (
        pickle.UnpicklingError,
        ValueError,
        EOFError,
        ImportError,
        AttributeError,
        IndexError,
        KeyError,
    ) as fault:
        raise ArtifactRefused(reason=f"joblib cannot load it ({fault}).") from fault
    if not isinstance(model, BaseEstimator):
        raise ArtifactRefused(
            reason=f"it holds a {type(model).__name__}, which is no scikit-learn estimator; "
            "save a booster in its own format, and others as ONNX."
        )
    buffer = io.BytesIO()
    skops.io.dump(model, buffer)
    return buffer.getvalue()
