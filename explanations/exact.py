"""Contributions that need no sampling: trees by TreeSHAP, linear models by their coefficients.

Lundberg and Lee (2017), NeurIPS 30; for linear models with independent features it is w (x - mean x), ibid., cor. 1.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    TweedieRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from explanations.attribution import TOLERANCE, TOLERANCE_OF_FLOAT32, Attribution, Method
from explanations.forests import (
    AVERAGED,
    SINGLE,
    Forest,
    NotConvertible,
    as_booster,
    forests_of,
)
from registry.formats.base import Prediction, Predictor, Rows

Floats = NDArray[np.float64]

COLUMN_BY_COLUMN = (
    StandardScaler,
    MinMaxScaler,
    MaxAbsScaler,
    RobustScaler,
)  # of a feature comes that feature
BY_LINK = (PoissonRegressor, GammaRegressor, TweedieRegressor)
ROWS_AT_ONCE = 64
# About, of TreeSHAP on one processor; whether to let somebody wait for it depends on no more.
SECONDS_PER_COST = 5e-9  # of leaves x depth^2 x rows
SECONDS_PER_BYTE = 2e-9  # of LightGBM's text x rows
SECONDS_PER_NODE = 2e-5  # of writing a forest as LightGBM's text
OF_TREES = "the training rows, as the trees counted them"
PREDICTION = "the prediction"
OF_ISOLATION = (
    "log2 of the isolation score"  # -1 where a row is ordinary, nearer to 0 the sooner it is set apart
)
OF_CLASS = "raw score of the predicted class"

Names = tuple[str, ...]
RawOf = Callable[[Rows], tuple[Floats, str]]
PartT = TypeVar("PartT")


class Explainer(ABC):
    """Explains rows of one loaded model; asked by several threads at once."""

    method: str
    wants_background = False
    tolerance = TOLERANCE

    @abstractmethod
    def explain(self, names: Names, rows: Rows, background: Rows | None) -> tuple[Attribution, Method]:
        """The contributions of rows, shape (n, features). background: what the base is taken over, where it matters."""

    def seconds(self, rows: int) -> float:
        """About how long it takes on one processor."""
        return 0.0


def exact_explainer(predictor: Predictor, size_bytes: int) -> Explainer | None:
    """The exact way for a model; None where there is none and features must be left out by sampling."""
    if predictor.format in ("lightgbm", "xgboost"):
        return BoosterExplainer(predictor, size_bytes)
    estimator = getattr(predictor, "estimator", None)
    if estimator is None:
        return None
    before, last = _steps(estimator)
    if is_outlier_detector(last) and not isinstance(last, IsolationForest):
        return None
    if not all(isinstance(step, COLUMN_BY_COLUMN) for step in before):
        return None
    if is_linear(last):
        return LinearExplainer(predictor, before, last)
    try:
        forests = forests_of(last)
    except NotConvertible:
        return None
    if forests is None:
        return None
    return ForestExplainer(_of_estimator(predictor, last), before, int(last.n_features_in_), forests)


def _steps(estimator: Any) -> tuple[list[Any], Any]:
    if not isinstance(estimator, Pipeline):
        return [], estimator
    steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
    return steps[:-1], steps[-1]


def is_linear(estimator: Any) -> bool:
    return (
        type(estimator).__module__.startswith("sklearn.linear_model.")
        and getattr(estimator, "coef_", None) is not None
        and (not is_classifier(estimator) or hasattr(estimator, "decision_function"))
    )


def _through(steps: list[Any], rows: Rows) -> Floats:
    for step in steps:
        rows = np.asarray(step.transform(rows), dtype=np.float64)
    return rows


def _of_best(raw: Floats, best: NDArray[np.intp]) -> Floats:
    return np.asarray(raw[np.arange(best.size), best])


class BoosterExplainer(Explainer):
    """LightGBM and XGBoost, which compute exact TreeSHAP themselves; XGBoost in float32."""

    def __init__(self, predictor: Predictor, size_bytes: int) -> None:
        self.predictor: Any = predictor
        self.size_bytes = size_bytes
        self.output = ""
        self.is_lightgbm = predictor.format == "lightgbm"
        self.method = f"TreeSHAP by {'LightGBM' if self.is_lightgbm else 'XGBoost'}, exact"
        self.tolerance = TOLERANCE if self.is_lightgbm else TOLERANCE_OF_FLOAT32

    def seconds(self, rows: int) -> float:
        return SECONDS_PER_BYTE * self.size_bytes * rows

    def explain(self, names: Names, rows: Rows, background: Rows | None) -> tuple[Attribution, Method]:
        found = _in_parts(self.predictor.contributions, rows)
        raw = self._raw(rows)
        attribution = Attribution(
            names,
            rows,
            np.concatenate([part.base for part in found]),
            np.concatenate([part.values for part in found]),
            _of_best(raw, raw.argmax(axis=1)) if raw.ndim == 2 else raw,
        )
        self.output = self.output or _output_of(self.predictor, raw, rows)  # the same for all rows
        return attribution, Method(self.method, self.output, OF_TREES)

    def _raw(self, rows: Rows) -> Floats:
        booster = self.predictor.booster
        if self.is_lightgbm:
            return np.asarray(booster.predict(rows, raw_score=True, num_threads=1), dtype=np.float64)
        margin = booster.inplace_predict(rows, missing=np.nan, validate_features=False, predict_type="margin")
        return np.asarray(margin, dtype=np.float64)


class ForestExplainer(Explainer):
    """Trees of scikit-learn, asked through LightGBM.

    raw: the model's own answer, shape (n,) or (n, outputs), in what the trees add up to; and what that is.
    """

    method = "TreeSHAP, exact"

    def __init__(self, raw: RawOf, before: list[Any], features: int, forests: list[Forest]) -> None:
        self.raw, self.before, self.features, self.forests = raw, before, features, forests
        self.boosters: dict[int, lightgbm.Booster] = {}  # by output, made on first use

    def seconds(self, rows: int) -> float:
        making = sum(
            SECONDS_PER_NODE * sum(tree.left.size for tree in forest.trees) for forest in self.forests
        )
        return making * (not self.boosters) + SECONDS_PER_COST * max(f.cost for f in self.forests) * rows

    def explain(self, names: Names, rows: Rows, background: Rows | None) -> tuple[Attribution, Method]:
        raw, output = self.raw(rows)
        best = raw.argmax(axis=1) if raw.ndim == 2 else np.zeros(len(rows), dtype=np.intp)
        seen = _through(self.before, rows)
        base, contributions = np.empty(len(rows)), np.empty((len(rows), self.features))
        for k in np.unique(best).tolist():
            of_k = best == k
            forest = self.forests[k]
            asked = seen[of_k].astype(np.float32).astype(np.float64) if forest.is_float32 else seen[of_k]
            found = np.concatenate(_in_parts(self._asker(k), asked))
            base[of_k], contributions[of_k] = found[:, -1] + forest.start, found[:, :-1]
        predictions = _of_best(raw, best) if raw.ndim == 2 else raw
        return Attribution(names, rows, base, contributions, predictions), Method(
            self.method, output, OF_TREES
        )

    def _asker(self, k: int) -> Callable[[Rows], Floats]:
        if k not in self.boosters:
            self.boosters[k] = as_booster(self.forests[k], self.features)
        booster = self.boosters[k]
        return lambda rows: np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))


def _of_estimator(predictor: Any, last: Any) -> RawOf:
    """What the trees of a scikit-learn estimator add up to."""

    def raw(rows: Rows) -> tuple[Floats, str]:
        if isinstance(last, IsolationForest):
            return np.log2(-np.asarray(predictor.estimator.score_samples(rows))), OF_ISOLATION
        if not is_classifier(last):
            values = np.asarray(predictor.predict(rows).values, dtype=np.float64)
            is_log = type(last).__name__.startswith("Hist") and last.loss in ("poisson", "gamma")
            return (np.log(values), "log of the prediction") if is_log else (values, PREDICTION)
        if isinstance(last, AVERAGED + SINGLE):
            return np.asarray(predictor.estimator.predict_proba(rows)), "probability of the predicted class"
        said = np.asarray(predictor.estimator.decision_function(rows), dtype=np.float64)
        return said, f"log-odds of class {last.classes_[1]}" if said.ndim == 1 else OF_CLASS

    return raw


def _in_parts(ask: Callable[[Rows], PartT], rows: Rows) -> list[PartT]:
    """Many rows shared out among our threads: each call of LightGBM computes with one and lets the others go on."""
    parts = [rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE)]
    if len(parts) == 1:
        return [ask(rows)]
    with ThreadPoolExecutor(min(len(parts), len(os.sched_getaffinity(0)))) as threads:
        return list(threads.map(ask, parts))


def _output_of(predictor: Predictor, raw: Floats, rows: Rows) -> str:
    """What the raw score of a booster is, in words."""
    if predictor.class_labels:
        return OF_CLASS if raw.ndim == 2 else f"log-odds of class {predictor.class_labels[1]}"
    said = np.float64(predictor.predict(rows[:1]).values[0])
    return (
        PREDICTION
        if np.isclose(said, raw[0], rtol=1e-6, atol=1e-9)
        else "score before the model's link function"
    )


class LinearExplainer(Explainer):
    """Coefficient times distance from the mean of the background."""

    method = "linear, exact"
    wants_background = True

    def __init__(self, predictor: Predictor, before: list[Any], last: Any) -> None:
        self.predictor, self.before, self.last = predictor, before, last
        self.coefficients = np.atleast_2d(np.asarray(last.coef_, dtype=np.float64))
        self.intercepts = np.broadcast_to(
            np.ravel(np.asarray(last.intercept_, dtype=np.float64)), (self.coefficients.shape[0],)
        )
        self.wants_background = not self._knows_means

    @property
    def _knows_means(self) -> bool:
        """A StandardScaler right before the model kept the means of its training rows."""
        return bool(self.before) and isinstance(self.before[-1], StandardScaler) and self.before[-1].with_mean

    def explain(self, names: Names, rows: Rows, background: Rows | None) -> tuple[Attribution, Method]:
        seen = _through(self.before, rows)
        center, said = np.zeros(seen.shape[1]), "nought for every feature: the model keeps no means"
        if background is not None:
            center = _through(self.before, background).mean(axis=0)
            said = f"the mean of {len(background)} rows"
        elif self._knows_means:
            said = "the means of the training rows, which its StandardScaler keeps"
        raw, output = self._raw(rows)
        best = raw.argmax(axis=1) if raw.ndim == 2 else np.zeros(len(rows), dtype=np.intp)
        weights = self.coefficients[best]
        attribution = Attribution(
            names,
            rows,
            self.intercepts[best] + weights @ center,
            weights * (seen - center),
            _of_best(raw, best) if raw.ndim == 2 else raw,
        )
        return attribution, Method(self.method, output, said, 0 if background is None else len(background))

    def _raw(self, rows: Rows) -> tuple[Floats, str]:
        if is_classifier(self.last):
            estimator: Any = getattr(self.predictor, "estimator")  # noqa: B009
            raw = np.asarray(estimator.decision_function(rows), dtype=np.float64)
            is_odds = isinstance(self.last, LogisticRegression | LogisticRegressionCV)
            word = "log-odds" if is_odds and raw.ndim == 1 else "decision value"
            return (
                raw,
                f"{word} of {'the predicted class' if raw.ndim == 2 else f'class {self.last.classes_[1]}'}",
            )
        values = np.asarray(self.predictor.predict(rows).values, dtype=np.float64)
        if isinstance(self.last, BY_LINK) and getattr(self.last, "link", "log") != "identity":
            power = getattr(self.last, "power", 1)
            if getattr(self.last, "link", "auto") == "log" or power > 0:
                return np.log(values), "log of the prediction"
        return values, PREDICTION


def asked_as_number(predictor: Predictor, rows: Rows) -> tuple[Any, str]:
    """For models that are only asked: a function from rows to one number each, and what it is.

    Of a classifier it is the probability of the class predicted for rows[0]. Raises TypeError for a model
    that answers words only.
    """
    first: Prediction = predictor.predict(rows[:1])
    estimator = getattr(predictor, "estimator", None)
    if estimator is not None and is_outlier_detector(estimator):
        return lambda asked: np.asarray(estimator.decision_function(asked), dtype=np.float64), (
            "decision value; below nought is an outlier"
        )
    if first.probabilities is not None:
        k = int(first.probabilities[0].argmax())
        label = predictor.class_labels[k] if k < len(predictor.class_labels) else first.values[0]
        return lambda asked: np.asarray(predictor.predict(asked).probabilities)[
            :, k
        ], f"probability of class {label}"
    if first.values.dtype.kind not in "fiub":
        raise TypeError("it answers words without probabilities")
    return lambda asked: np.asarray(predictor.predict(asked).values, dtype=np.float64), PREDICTION
