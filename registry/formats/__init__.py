"""What may be loaded, and how. The content decides the format, never the name. No framework here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from registry.formats.base import ArtifactRefused, Predictor
from registry.formats.sniff import sniff

__all__ = ["FORMATS", "ArtifactRefused", "Format", "load", "sniff"]


@dataclass(frozen=True, slots=True)
class Format:
    """suffix: of the stored file. runtime: the module that runs it, installed by the extra when it is not core.
    reader: our class for it, imported on first use, since it imports the runtime; None: it is kept, not run."""

    name: str
    suffix: str
    runtime: str
    extra: str
    reader: tuple[str, str] | None

    @property
    def is_served(self) -> bool:
        return self.reader is not None and find_spec(self.runtime) is not None

    def prepare(self) -> type[Predictor]:
        if self.reader is None:
            raise LookupError(self.name)
        module, name = self.reader
        reader: type[Predictor] = getattr(import_module(f"registry.formats.{module}"), name)
        return reader


_XGBOOST = ("xgboost", "xgboost", ("xgboost_file", "XGBoostPredictor"))
FORMATS = {
    known.name: known
    for known in (
        Format("lightgbm", "txt", "lightgbm", "", ("lightgbm_text", "LightGBMPredictor")),
        Format("skops", "skops", "skops", "", ("skops_file", "SkopsPredictor")),
        Format("xgboost_json", "json", *_XGBOOST),
        Format("xgboost_ubj", "ubj", *_XGBOOST),
        Format("onnx", "onnx", "onnxruntime", "onnx", ("onnx_file", "ONNXPredictor")),
        Format("torchscript", "pt", "torch", "", None),
        Format("torch_export", "pt2", "torch", "", None),
        Format("safetensors", "safetensors", "safetensors", "", None),
        Format("keras", "keras", "keras", "", None),
    )
}


def load(name: str, content: bytes) -> Predictor:
    """A predictor from the bytes of a format, or ArtifactRefused."""
    return FORMATS[name].prepare()(content)
