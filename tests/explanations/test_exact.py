"""Contributions of each family of models: they add up on a thousand rows, and are those of shap."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import skops.io
from django.conf import settings
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import HuberRegressor, Lasso, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from sklearn.tree._tree import Tree

from explanations.attribution import Attribution, DoesNotAddUp
from explanations.exact import exact_explainer
from registry.formats import load
from tests.registry import models_made

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(600, 4))
TARGET = 2 * ROWS[:, 0] + np.sin(ROWS[:, 1]) + ROWS[:, 2] * ROWS[:, 3]
CLASSES = np.digitize(TARGET, [-1, 1])
ASKED = np.random.default_rng(1).normal(size=(1_000, 4))
NAMES = ("a", "b", "c", "d")

ESTIMATORS = {
    "tree": lambda: DecisionTreeRegressor(max_depth=6).fit(ROWS, TARGET),
    "forest": lambda: RandomForestRegressor(10, max_depth=6, random_state=0).fit(ROWS, TARGET),
    "forest of classes": lambda: RandomForestClassifier(10, max_depth=5, random_state=0).fit(ROWS, CLASSES),
    "extra trees": lambda: ExtraTreesRegressor(10, max_depth=6, random_state=0).fit(ROWS, TARGET),
    "extra trees of classes": lambda: ExtraTreesClassifier(10, max_depth=5, random_state=0).fit(
        ROWS, CLASSES
    ),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=20).fit(ROWS, TARGET),
    "boosting, two classes": lambda: GradientBoostingClassifier(n_estimators=10).fit(ROWS, TARGET > 0),
    "boosting, three classes": lambda: GradientBoostingClassifier(n_estimators=10).fit(ROWS, CLASSES),
    "histograms": lambda: HistGradientBoostingRegressor(max_iter=20).fit(ROWS, TARGET),
    "histograms, poisson": lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=20).fit(
        ROWS, np.exp(TARGET / 4)
    ),
    "histograms, three classes": lambda: HistGradientBoostingClassifier(max_iter=10).fit(ROWS, CLASSES),
    "forest behind a scaler": lambda: make_pipeline(
        StandardScaler(), RandomForestRegressor(5, max_depth=4, random_state=0)
    ).fit(ROWS, TARGET),
    "isolation forest": lambda: IsolationForest(n_estimators=20, random_state=0).fit(ROWS),
    "isolation forest of some columns, behind a scaler": lambda: make_pipeline(
        RobustScaler(), IsolationForest(n_estimators=20, max_features=2, bootstrap=True, random_state=0)
    ).fit(ROWS),
    "ridge": lambda: Ridge().fit(ROWS, TARGET),
    "ridge behind a scaler": lambda: make_pipeline(StandardScaler(), Ridge()).fit(ROWS, TARGET),
    "lasso behind a scaler": lambda: make_pipeline(MinMaxScaler(), Lasso(0.01)).fit(ROWS, TARGET),
    "huber": lambda: HuberRegressor().fit(ROWS, TARGET),
    "poisson": lambda: PoissonRegressor().fit(ROWS, np.exp(TARGET / 4)),
    "logistic": lambda: LogisticRegression().fit(ROWS, TARGET > 0),
    "logistic, three classes": lambda: LogisticRegression().fit(ROWS, CLASSES),
}


def explained(kind: str, artifact: bytes, rows: Any = ASKED) -> Attribution:
    explainer = exact_explainer(load(kind, artifact), len(artifact))
    assert explainer is not None
    attribution, _ = explainer.explain(NAMES, rows, None)
    return attribution.settled(explainer.tolerance)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_adds_up_to_its_own_answer_on_a_thousand_rows(name: str) -> None:
    attribution = explained("skops", skops.io.dumps(ESTIMATORS[name]()))

    total = attribution.base + attribution.contributions.sum(axis=1)
    np.testing.assert_allclose(total, attribution.predictions, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", ["regression", "binary", "multiclass", "poisson", "regression_l1"])
def test_lightgbm_adds_up(objective: str) -> None:
    if objective == "poisson":
        import lightgbm

        parameters = {"objective": "poisson", "verbosity": -1, "num_threads": 1}
        booster = lightgbm.train(parameters, lightgbm.Dataset(ROWS, np.exp(TARGET / 4)), 10)
    else:
        booster = models_made.lightgbm_booster(20, objective)

    attribution = explained("lightgbm", booster.model_to_string().encode())

    total = attribution.base + attribution.contributions.sum(axis=1)
    np.testing.assert_allclose(total, attribution.predictions, rtol=1e-9, atol=1e-12)


def test_what_float32_leaves_of_xgboost_goes_into_the_base() -> None:
    booster = models_made.xgboost_booster()

    attribution = explained("xgboost_json", models_made.xgboost_file())

    assert attribution.error() <= 1e-12
    margins = booster.inplace_predict(ASKED, predict_type="margin")
    np.testing.assert_array_equal(attribution.predictions, margins.astype(np.float64))


def test_a_missing_value_takes_the_way_the_trees_learned() -> None:
    holes = np.where(RNG.random(ROWS.shape) < 0.2, np.nan, ROWS)
    model = HistGradientBoostingRegressor(max_iter=20).fit(holes, TARGET)
    asked = np.where(np.random.default_rng(2).random(ASKED.shape) < 0.3, np.nan, ASKED)

    attribution = explained("skops", skops.io.dumps(model), asked)

    np.testing.assert_allclose(attribution.predictions, model.predict(asked), rtol=1e-12)


def test_what_cannot_be_written_as_trees_is_left_to_asking() -> None:
    weighted = DecisionTreeRegressor(max_depth=3).fit(ROWS, TARGET, sample_weight=RNG.random(len(ROWS)))
    artifact = skops.io.dumps(weighted)

    assert exact_explainer(load("skops", artifact), len(artifact)) is None


def test_parts_that_miss_the_prediction_do_not_leave() -> None:
    wrong = Attribution(NAMES[:1], np.zeros((1, 1)), np.array([1.0]), np.array([[2.0]]), np.array([3.1]))
    endless = Attribution(NAMES[:1], np.zeros((1, 1)), np.array([np.nan]), np.array([[2.0]]), np.array([3.0]))

    with pytest.raises(DoesNotAddUp):
        wrong.settled()
    with pytest.raises(DoesNotAddUp):
        endless.settled(1.0)


@pytest.mark.timeout(240)
def test_they_are_those_of_shap() -> None:
    """In a process of its own: shap costs this one 300 MB."""
    script = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, shap
from sklearn.ensemble._iforest import _average_path_length
from tests.explanations import test_exact as told
far = {}
for name in ("tree", "forest", "extra trees", "boosting", "boosting, two classes", "histograms"):
    model = told.ESTIMATORS[name]()
    ours = told.explained("skops", told.skops.io.dumps(model)).contributions
    theirs = np.asarray(shap.TreeExplainer(model).shap_values(told.ASKED, check_additivity=False))
    far[name] = float(np.abs(ours - theirs.reshape(ours.shape)).max())
model = told.ESTIMATORS["isolation forest"]()
ours = told.explained("skops", told.skops.io.dumps(model)).contributions
paths = shap.TreeExplainer(model).shap_values(told.ASKED, check_additivity=False)  # of the mean path
far["isolation forest"] = float(np.abs(ours + paths / _average_path_length([model.max_samples_])).max())
booster = told.models_made.lightgbm_booster()
ours = told.explained("lightgbm", booster.model_to_string().encode()).contributions
far["lightgbm"] = float(np.abs(ours - shap.TreeExplainer(booster).shap_values(told.ASKED)).max())
booster = told.models_made.xgboost_booster()
ours = told.explained("xgboost_json", told.models_made.xgboost_file()).contributions
far["xgboost"] = float(np.abs(ours - shap.TreeExplainer(booster).shap_values(told.ASKED)).max())
print(json.dumps(far))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=220
    )

    assert done.returncode == 0, done.stderr[-2000:]
    far = json.loads(done.stdout.splitlines()[-1])
    assert len(far) == 9
    assert max(far.values()) <= 1e-6, far


def test_a_tree_too_deep_for_the_stack_of_a_thread_is_only_asked() -> None:
    """TreeSHAP goes down by calls of itself, and its memory grows with the square of the levels."""
    tree = DecisionTreeRegressor(max_depth=1).fit(np.array([[0.0], [1.0]]), [0.0, 1.0])
    state = tree.tree_.__getstate__()
    kept, levels = state["nodes"], 600
    places = np.append(np.tile([0, 1], levels), 1)  # an inner node and a leaf, in turns
    nodes, inner = kept[places], np.arange(0, 2 * levels, 2)
    nodes["left_child"][inner], nodes["right_child"][inner] = inner + 1, inner + 2
    state.update(nodes=nodes, values=state["values"][places], node_count=len(nodes), max_depth=levels)
    tree.tree_ = Tree(1, np.array([1], dtype=np.intp), 1)
    tree.tree_.__setstate__(state)

    assert exact_explainer(load("skops", skops.io.dumps(tree)), 1) is None
