"""What may be loaded, and how. The content decides the format, never the name. No framework here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from registry.formats.base import NOTHING, ArtifactRefused, Declared, Limits, Predictor
from registry.formats.sniff import sniff

__all__ = ["FORMATS", "ArtifactRefused", "Declared", "Format", "Limits", "load", "open_here", "sniff"]


@dataclass(frozen=True, slots=True)
class Format:
    """suffix: of the stored file. runtime: the module that runs it, installed by the extra when it is not core.
    reader: our class for it, imported on first use, since it imports the runtime. is_declared: the file does not
    say all of itself. is_confined: it holds code, which runs in a process of its own and nowhere else."""

    name: str
    suffix: str
    runtime: str
    extra: str
    reader: tuple[str, str]
    is_declared: bool = False
    is_confined: bool = False

    @property
    def is_served(self) -> bool:
        return find_spec(self.runtime) is not None

    def prepare(self) -> type[Predictor]:
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
        Format(
            "safetensors", "safetensors", "safetensors", "", ("safetensors_file", "NetworkPredictor"), True
        ),
        Format("keras", "keras", "keras", "keras", ("keras_file", "KerasPredictor"), True, True),
        Format("torch_export", "pt2", "torch", "torch", ("torch_file", "ExportedPredictor"), True, True),
        Format("torchscript", "pt", "torch", "torch", ("torch_file", "TorchScriptPredictor"), True, True),
    )
}


def load(name: str, content: bytes, declared: Declared = NOTHING, limits: Limits | None = None) -> Predictor:
    """A predictor from the bytes of a format, or ArtifactRefused. What holds code is run apart, within limits."""
    if not FORMATS[name].is_confined:
        return open_here(name, content, declared)
    from registry.formats.runner import RunnerPredictor

    return RunnerPredictor(name, content, declared, limits or Limits())


def open_here(name: str, content: bytes, declared: Declared = NOTHING) -> Predictor:
    """The same in this process, which for what holds code must be one that is confined."""
    reader = FORMATS[name].prepare()
    return reader(content, declared) if FORMATS[name].is_declared else reader(content)
