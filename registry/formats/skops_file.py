"""scikit-learn by skops: a zip of a schema and arrays. skops holds types to a list; what the arrays say is checked
here, since scikit-learn follows the indices of a tree without looking."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator, is_classifier, is_outlier_detector, is_regressor
from sklearn.preprocessing import PolynomialFeatures
from skops.io.exceptions import UntrustedTypesFoundException

from registry.formats.base import (
    MAX_FEATURES,
    ArtifactRefused,
    Prediction,
    Predictor,
    Rows,
    in_parts,
    rows_at_once,
)

MAX_UNPACKED_BYTES = 1_073_741_824
MAX_MEMBERS = 20_000
TREE = "sklearn.tree._tree.Tree"
HISTOGRAM_TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
CHECKED_TYPES = (TREE, HISTOGRAM_TREE)  # beside those skops trusts: we look inside
# What answers in memory and time that the trial rows tell as well. Not among them: whose compiled code follows numbers of
# the file without a check (support vectors, neighbours, clusters), who calls what the file names (functions), who
# searches an answer for as long as the row and the file say (NMF, LDA, dictionaries, imputers that iterate).
TAKEN = tuple(
    f"sklearn.{module}"
    for module in (
        *("calibration", "compose", "covariance", "cross_decomposition", "discriminant_analysis", "dummy"),
        *("frozen", "isotonic", "kernel_approximation", "kernel_ridge", "linear_model", "multiclass"),
        *("naive_bayes", "pipeline", "tree", "impute._base", "neural_network._multilayer_perceptron"),
        *(
            f"decomposition._{name}"
            for name in ("factor_analysis", "fastica", "incremental_pca", "kernel_pca")
        ),
        *(f"decomposition._{name}" for name in ("pca", "sparse_pca", "truncated_svd")),
        *(f"ensemble._{name}" for name in ("forest", "gb", "hist_gradient_boosting", "iforest", "stacking")),
        *(f"ensemble._{name}" for name in ("voting", "weight_boosting")),
        *(
            f"feature_selection._{name}"
            for name in ("from_model", "rfe", "sequential", "univariate_selection")
        ),
        "feature_selection._variance_threshold",
        *(f"preprocessing._{name}" for name in ("data", "discretization", "encoders", "label", "polynomial")),
        "preprocessing._target_encoder",
    )
)
# Most columns a polynomial may have. Of a sparse table it makes as many as a row has other numbers than nought, and no
# trial row may have any.
MAX_POLYNOMIALS = 2_048


class SkopsPredictor(Predictor):
    format = "skops"

    def __init__(self, content: bytes) -> None:
        self.estimator = _load(content)
        self.feature_count = int(getattr(self.estimator, "n_features_in_", 0))
        if not 1 <= self.feature_count <= MAX_FEATURES:
            raise ArtifactRefused(reason="the estimator is not fitted: it does not know its features.")
        if not hasattr(self.estimator, "predict"):
            raise ArtifactRefused(reason="the estimator cannot predict.")
        self.feature_names = tuple(str(name) for name in getattr(self.estimator, "feature_names_in_", ()))
        if is_classifier(self.estimator) or is_outlier_detector(self.estimator):
            self.task = "classification"
            labels = getattr(self.estimator, "classes_", None)
            self.class_labels = (-1, 1) if labels is None else tuple(np.asarray(labels).tolist())
        elif not is_regressor(self.estimator):
            raise ArtifactRefused(
                reason="it is neither a regressor, nor a classifier, nor an outlier detector."
            )
        self._gives_probabilities = hasattr(self.estimator, "predict_proba")
        _forget_names(self.estimator)

    def predict(self, rows: Rows) -> Prediction:
        return in_parts(self._answer, rows, rows_at_once(self.feature_count))

    def _answer(self, rows: Rows) -> Prediction:
        values = np.asarray(self.estimator.predict(rows))
        if values.shape != (len(rows),):
            raise ValueError(f"the model answers in the shape {values.shape}, not one value a row")
        if not self._gives_probabilities:
            return Prediction(values)
        return Prediction(values, np.asarray(self.estimator.predict_proba(rows), dtype=np.float64))


def _load(content: bytes) -> BaseEstimator:
    _check_container(content)
    try:
        found = skops.io.get_untrusted_types(data=content)
        if strangers := sorted(set(found) - set(CHECKED_TYPES)):
            raise ArtifactRefused(
                reason=f"it holds types that are not trusted: {', '.join(strangers)[:300]}."
            )
        estimator = skops.io.loads(content, trusted=[name for name in found if name in CHECKED_TYPES])
    except UntrustedTypesFoundException as fault:
        raise ArtifactRefused(reason=f"it holds types that are not trusted ({str(fault)[:300]}).") from fault
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ImportError, OSError) as fault:
        raise ArtifactRefused(
            reason=f"skops cannot read it ({type(fault).__name__}: {str(fault)[:200]})."
        ) from fault
    except (zipfile.BadZipFile, RecursionError, NotImplementedError, RuntimeError) as fault:
        raise ArtifactRefused(reason=f"it is no whole skops file ({str(fault)[:200]}).") from fault
    if not isinstance(estimator, BaseEstimator):
        raise ArtifactRefused(reason="it holds no scikit-learn estimator.")
    for part, features in _parts(estimator):
        _check_part(part, features)
    return estimator


def _check_container(content: bytes) -> None:
    """Bounded before anything is unpacked: a zip says how large its parts are, and its reader holds it to that."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as container:
            members = container.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as fault:
        raise ArtifactRefused(reason=f"it is a damaged zip ({fault}).") from fault
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
        raise ArtifactRefused(reason="unpacked it would be larger than 1 GiB or have more than 20,000 parts.")


def _parts(estimator: Any) -> Iterator[tuple[Any, int | None]]:
    """Every object of scikit-learn in an estimator, with the number of features its owner is asked with."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int | None]] = [(estimator, getattr(estimator, "n_features_in_", None))]
    while waiting:
        part, features = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | bool | None):
            continue
        seen.add(id(part))
        if isinstance(part, np.ndarray):
            waiting += [(item, features) for item in part.ravel().tolist()] if part.dtype == object else []
        elif isinstance(part, dict):
            waiting += [(item, features) for item in part.values()]
        elif isinstance(part, list | tuple | set):
            waiting += [(item, features) for item in part]
        elif type(part).__module__.startswith("sklearn."):
            yield part, features
            own = getattr(part, "n_features_in_", features)
            waiting += [(item, own) for item in getattr(part, "__dict__", {}).values()]
        elif callable(part) and not isinstance(part, type | np.ufunc):
            raise ArtifactRefused(reason=f"it would call {getattr(part, '__name__', 'a function')[:80]!r}.")


def _check_part(part: Any, features: int | None) -> None:
    kind = f"{type(part).__module__}.{type(part).__qualname__}"
    if isinstance(part, BaseEstimator) and not _is_taken(type(part).__module__):
        raise ArtifactRefused(reason=f"{type(part).__name__} is not taken; convert the model to ONNX.")
    if isinstance(part, PolynomialFeatures):
        _check_polynomials(part)
    if kind == TREE:
        leaf = part.children_left < 0
        _check_nodes(part.children_left, part.children_right, part.feature, leaf, features)
    elif kind == HISTOGRAM_TREE:
        nodes = part.nodes
        leaf = nodes["is_leaf"].astype(bool)
        left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
        _check_nodes(left, right, nodes["feature_idx"].astype(np.int64), leaf, features)
        sets = max(len(part.binned_left_cat_bitsets), len(part.raw_left_cat_bitsets))
        by_set = nodes["is_categorical"].astype(bool) & ~leaf
        if by_set.any() and int(nodes["bitset_idx"][by_set].max()) >= sets:
            raise ArtifactRefused(reason="a tree names a set of categories that does not exist.")
    if isinstance(part, BaseEstimator) and getattr(part, "n_jobs", None) not in (None, 1):
        part.n_jobs = 1  # a web process predicts with one thread


def _is_taken(module: str) -> bool:
    return any(module == taken or module.startswith(f"{taken}.") for taken in TAKEN)


def _check_polynomials(part: PolynomialFeatures) -> None:
    features = part.n_features_in_
    degree = part.degree if isinstance(part.degree, int) else max(part.degree)
    if degree > MAX_POLYNOMIALS or features > MAX_POLYNOMIALS:
        many = MAX_POLYNOMIALS + 1
    elif part.interaction_only:
        many = sum(math.comb(features, together) for together in range(min(degree, features) + 1))
    else:
        many = math.comb(features + degree, degree)
    if many > MAX_POLYNOMIALS:
        raise ArtifactRefused(
            reason=f"PolynomialFeatures of degree {degree} makes more than {MAX_POLYNOMIALS:,} columns of {features}."
        )


def _check_nodes(left: Any, right: Any, feature: Any, leaf: Any, features: int | None) -> None:
    """Children lie behind their parent, so that every way ends; features are those of the rows."""
    inner = ~leaf
    if left.size == 0 or features is None:
        raise ArtifactRefused(reason="a tree is empty, or nobody says how many features it has.")
    parents = np.arange(left.size)[inner]
    for child in (left[inner], right[inner]):
        if ((child <= parents) | (child >= left.size)).any():
            raise ArtifactRefused(reason="a tree leads to a node that does not exist, or back.")
    if ((feature[inner] < 0) | (feature[inner] >= features)).any():
        raise ArtifactRefused(reason="a tree splits by a feature that does not exist.")


def _forget_names(estimator: BaseEstimator) -> None:
    """Rows come as arrays in the model's order; scikit-learn would warn at each that they carry no names."""
    for part, _ in _parts(estimator):
        if hasattr(part, "feature_names_in_") and "feature_names_in_" in vars(part):
            del part.feature_names_in_
