"""From a version to its predictor: loaded on first use in this process, kept by digest, the least used let go."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import structlog
from django.conf import settings
from numpy.typing import NDArray

from omarino import metrics
from registry import artifacts, quantiles
from registry.errors import ArtifactMissing, InputRefused, ModelFailed, RuntimeMissing
from registry.formats import Limits, load

# What serves most models is imported when a process starts, not by its first request; extras are not.
from registry.formats import lightgbm_text as lightgbm_text
from registry.formats import skops_file as skops_file
from registry.formats.base import ArtifactRefused, Contributions, Prediction, Predictor
from registry.models import ModelVersion

LARGEST_VALUE = 1e15
MOST_PROBABILITIES = (
    4_194_304  # of all classes of all rows of a request: 32 MiB, and a few times that as JSON
)
NAMED_AT_MOST = 20
NUMBERS = frozenset({int, float, type(None)})
FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, ArtifactRefused)


@dataclass(slots=True)
class Loaded:
    predictor: Predictor
    bytes: int
    used_at: float


class PredictorCache:
    """Predictors by digest, so that a version which was promoted, archived or renamed needs no second load.

    Bounded by number and bytes; what nobody asked for in `ttl_s` goes at the next load. A request keeps the
    predictor it has, even when the cache lets it go meanwhile.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, Loaded] = OrderedDict()

    def get(self, version: ModelVersion) -> Predictor:
        """The predictor of a version with an artifact; two threads that ask at once load it once."""
        key = version.load_key
        found = self._find(key)
        if found is not None:
            metrics.MODEL_CACHE_HITS.inc()
            return found
        metrics.MODEL_CACHE_MISSES.inc()
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        try:
            with loading:
                return self._find(key) or self._load(version)
        finally:
            with self._lock:
                self._loading.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()

    def sizes(self) -> dict[str, int]:
        """Bytes by key of loading, the least recently used first."""
        with self._lock:
            return {digest: loaded.bytes for digest, loaded in self._kept.items()}

    def _load(self, version: ModelVersion) -> Predictor:
        limits = Limits(settings.MODEL_RUNNER_SECONDS, settings.MODEL_RUNNER_MEMORY_MB)
        predictor = load(version.format, artifacts.read(version), version.declared, limits)
        size = max(int(version.portrait.get("memory_bytes") or 0), version.size_bytes or 0)
        self._keep(version.load_key, Loaded(predictor, size, self._clock()))
        return predictor

    def _find(self, digest: str) -> Predictor | None:
        with self._lock:
            loaded = self._kept.get(digest)
            if loaded is None or loaded.predictor.is_over:
                return None
            loaded.used_at = self._clock()
            self._kept.move_to_end(digest)
            return loaded.predictor

    def _keep(self, digest: str, loaded: Loaded) -> None:
        with self._lock:
            self._kept[digest] = loaded
            oldest = self._clock() - settings.MODEL_CACHE_TTL
            for old in [name for name, kept in self._kept.items() if kept.used_at < oldest]:
                del self._kept[old]
            while len(self._kept) > 1 and (
                len(self._kept) > settings.MODEL_CACHE_SIZE
                or sum(kept.bytes for kept in self._kept.values()) > settings.MODEL_CACHE_BYTES
            ):
                self._kept.popitem(last=False)


CACHE = PredictorCache()
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version says of rows, in their order."""

    version: ModelVersion
    prediction: Prediction
    contributions: Contributions | None
    quantiles: dict[str, NDArray[np.float64]] | None = None
    without_quantiles: str = ""  # why there are none


def predict(
    version: ModelVersion,
    rows: NDArray[np.float64],
    *,
    with_importance: bool = False,
    with_quantiles: bool = False,
) -> Answer:
    """Predict rows whose columns are the version's features in order."""
    began = time.perf_counter()
    check_size(version, len(rows))
    predictor = predictor_of(version)
    try:
        with metrics.inference("prediction", version.format):
            prediction = predictor.predict(rows)
            contributions = predictor.contributions(rows) if with_importance else None
    except FAULTS as fault:
        raise ModelFailed(model_id=str(version), reason=str(fault)[:300].rstrip(".")) from fault
    if prediction.values.dtype.kind == "f" and not np.isfinite(prediction.values).all():
        raise ModelFailed(model_id=str(version), reason="it answers a number that is not finite")
    metrics.PREDICTIONS.labels("prediction", version.format).inc(len(rows))
    log.info(
        "predictions_made",
        tenant_id=version.tenant_id,
        model_name=version.model.name,
        latency_ms=metrics.elapsed_ms(began),
        version=version.version,
        rows=len(rows),
    )
    if not with_quantiles or prediction.probabilities is not None:
        return Answer(version, prediction, contributions)
    found, why_not = _quantiles(version, prediction, rows)
    return Answer(version, prediction, contributions, found, why_not)


def check_size(version: ModelVersion, rows: int) -> None:
    """Raises InputRefused where the classes of so many rows would fill a process."""
    classes = len(version.portrait.get("class_labels") or ())
    if rows * classes > MOST_PROBABILITIES:
        raise InputRefused(
            reason=f"{rows:,} rows are too many for a model of {classes:,} classes. "
            f"Send at most {MOST_PROBABILITIES // classes:,} at once."
        )


def _quantiles(
    version: ModelVersion, prediction: Prediction, rows: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.float64]] | None, str]:
    """By the quantile models that the version names, else by the quantiles of its residuals; or why not."""
    if prediction.values.dtype.kind not in "fiu":
        return None, "The model tells classes without their probabilities."
    if named := version.metadata.get("quantile_models"):
        columns = {}
        for quantile, label in named.items():
            name, _, wanted = label.partition(":")
            others = ModelVersion.objects.for_tenant(version.tenant_id).select_related("model")
            other = others.named(name, wanted).first()
            if other is None or other.feature_names != version.feature_names or other.pk == version.pk:
                return None, f"Its {quantile} model, {label}, is not registered, or takes other features."
            columns[quantile] = np.asarray(predict(other, rows).prediction.values, dtype=np.float64)
        return quantiles.uncrossed(columns), ""
    if residuals := version.metadata.get("residual_quantiles"):
        return quantiles.around(np.asarray(prediction.values, dtype=np.float64), residuals), ""
    return None, quantiles.NEITHER


def predictor_of(version: ModelVersion) -> Predictor:
    _refuse_what_cannot_answer(version)
    return CACHE.get(version)


def _refuse_what_cannot_answer(version: ModelVersion) -> None:
    if not version.format:
        raise ArtifactMissing(model_id=str(version))
    if version.missing_extra:
        raise RuntimeMissing(model_id=str(version), extra=version.missing_extra)


def rows_of(version: ModelVersion, inputs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """An array of shape (n, features) from objects; raises InputRefused, naming what is missing or unknown."""
    names = columns_of(version)
    try:
        if set(map(len, inputs)) - {len(names)}:
            raise KeyError
        take = itemgetter(*names)
        table = [*map(take, inputs)] if len(names) > 1 else [(take(row),) for row in inputs]
        if not NUMBERS.issuperset(map(type, chain.from_iterable(table))):
            raise TypeError
        return _checked(version, np.array(table, dtype=np.float64), names)
    except (KeyError, TypeError, OverflowError):
        raise _explain(inputs, names) from None


def rows_of_columns(version: ModelVersion, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float64]:
    """The same from `{feature: [value, ...]}`."""
    names = columns_of(version)
    problems = _names_problem(set(columns), names)
    if problems:
        raise InputRefused(reason=problems, **_names_facts(set(columns), names))
    lengths = {len(columns[name]) for name in names}
    if len(lengths) != 1:
        raise InputRefused(reason="its columns differ in length.")
    table = np.empty((lengths.pop(), len(names)))
    for index, name in enumerate(names):
        if not NUMBERS.issuperset(map(type, columns[name])):
            raise InputRefused(reason=f"{name} holds something that is no number.")
        try:
            table[:, index] = np.array(columns[name], dtype=np.float64)
        except OverflowError:
            raise InputRefused(reason=f"{name} holds a number that is too large.") from None
    return _checked(version, table, names)


def columns_of(version: ModelVersion) -> list[str]:
    """The version's features in the order of its columns. Raises ArtifactMissing and RuntimeMissing."""
    _refuse_what_cannot_answer(version)
    if version.portrait.get("feature_count") is None:  # it came before its runtime was installed
        return version.feature_names or [f"f{index}" for index in range(predictor_of(version).feature_count)]
    return version.feature_names


def rows_of_arrays(version: ModelVersion, columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The same from arrays of one length, NaN where a value is missing."""
    names = columns_of(version)
    if problems := _names_problem(set(columns), names):
        raise InputRefused(reason=problems, **_names_facts(set(columns), names))
    return _checked(version, np.column_stack([columns[name] for name in names]), names)


def _checked(version: ModelVersion, table: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    missing = np.isnan(table)
    if missing.any() and not version.portrait.get("takes_missing"):
        row, column = np.argwhere(missing)[0].tolist()
        raise InputRefused(
            reason=f"{names[column]} of row {row} is null, and this model takes no missing values."
        )
    if (np.abs(table, where=~missing, out=np.zeros_like(table)) > LARGEST_VALUE).any():
        raise InputRefused(reason="a number is larger than 1e15.")
    return table


def _explain(inputs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> InputRefused:
    for index, row in enumerate(inputs):
        if problems := _names_problem(set(row), names):
            return InputRefused(reason=f"row {index}: {problems}", row=index, **_names_facts(set(row), names))
        wrong = [name for name in names if type(row[name]) not in NUMBERS]
        if wrong:
            listed = ", ".join(wrong[:NAMED_AT_MOST])
            return InputRefused(reason=f"row {index}: not a number: {listed}.", row=index, not_numbers=wrong)
    return InputRefused(reason="a number is too large.")


def _names_problem(given: set[str], names: Sequence[str]) -> str:
    facts = _names_facts(given, names)
    said = [
        f"{word}: {', '.join(facts[key][:NAMED_AT_MOST])}."
        for key, word in (("missing_features", "missing"), ("unknown_features", "unknown"))
        if facts[key]
    ]
    return " ".join(said)


def _names_facts(given: set[str], names: Sequence[str]) -> dict[str, list[str]]:
    known = set(names)
    return {
        "missing_features": [name for name in names if name not in given],
        "unknown_features": sorted(given - known),
    }
