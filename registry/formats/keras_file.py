"""Keras's own format, without code, on its numpy backend. Only for a process that is confined: what is a layer decides
Keras, and it has been talked into more before (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906)."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

os.environ["KERAS_BACKEND"] = "numpy"

import keras
import numpy as np
from keras.src.saving import (
    saving_lib,
)  # its public `load_model` wants a path, and no file can be opened here

from registry.formats.base import (
    MAX_FEATURES,
    NOTHING,
    ArtifactRefused,
    Declared,
    Prediction,
    Predictor,
    Rows,
    of_outputs,
)


class KerasPredictor(Predictor):
    format = "keras"

    def __init__(self, content: bytes, declared: Declared = NOTHING) -> None:
        try:
            self._model = _loaded(content)
        except (ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError, ImportError) as fault:
            raise ArtifactRefused(reason=f"Keras cannot read it ({str(fault)[:200]}).") from fault
        shape = getattr(self._model, "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) != 2 or shape[0] is not None:
            raise ArtifactRefused(
                reason="it must take one input: a table, (rows, features), of any number of rows."
            )
        if not isinstance(shape[1], int) or not 1 <= shape[1] <= MAX_FEATURES:
            raise ArtifactRefused(reason="its input does not say how many features it has.")
        self.feature_count = shape[1]
        if declared.class_labels:
            self.task, self.class_labels = "classification", declared.class_labels

    def predict(self, rows: Rows) -> Prediction:
        outputs: Any = self._model(rows.astype(np.float32), training=False)
        if not isinstance(outputs, np.ndarray):
            raise ValueError("the model has several outputs")
        return of_outputs(outputs.astype(np.float64), self.class_labels)


def _loaded(content: bytes) -> Any:
    return saving_lib._load_model_from_fileobj(io.BytesIO(content), None, compile=False, safe_mode=True)


def _warm_up() -> None:
    """What Keras and h5py import on first use they import now: later no file can be opened."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    config, metadata = saving_lib._serialize_model_as_json(model)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as container:
        container.writestr("config.json", config)
        container.writestr("metadata.json", metadata)
        weights = saving_lib.H5IOStore("model.weights.h5", archive=container, mode="w")
        saving_lib._save_state(
            model, weights_store=weights, assets_store=None, inner_path="", visited_saveables=set()
        )
        weights.close()
    _loaded(sink.getvalue())(np.zeros((1, 1), dtype=np.float32), training=False)


_warm_up()
