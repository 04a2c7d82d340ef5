"""Explanations: whether they add up, whether they are shap's, and how long they take, alone and through the whole stack.

Every family of models explains the same 1,000 random rows. The error is the largest distance of base and contributions
from what the model itself answers, as a share of all that is added up; where shap.TreeExplainer takes the model, it
explains the same rows in the same run, by the trees' own weights as ours. Then the product is started as `make up`
does, a LightGBM model of 300 trees and 20 features is registered, and one client asks why, one row after the other,
no row twice, and then for a thousand rows at once.

    python -m benchmarks.explain --write docs/benchmarks/explain.md
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import lightgbm  # noqa: E402
import numpy as np  # noqa: E402
import skops.io  # noqa: E402
import xgboost  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from benchmarks.machine import machine  # noqa: E402
from benchmarks.serving import manage  # noqa: E402
from benchmarks.stack import Stack  # noqa: E402
from explanations.attribution import Attribution  # noqa: E402
from explanations.exact import asked_as_number, exact_explainer  # noqa: E402
from forecasting.forecasters import FORECASTERS  # noqa: E402
from forecasting.forecasters.base import Problem, Series  # noqa: E402
from registry.formats import load  # noqa: E402

TREES, FEATURES, ROWS = 300, 20, 1_000
BAR_ADDS_UP, BAR_AGREES, BAR_LOCAL_MS, BAR_GLOBAL_S = 1e-6, 1e-6, 40, 2.0
NAMES = tuple(f"f{index}" for index in range(FEATURES))
BACKGROUND = 5  # rows, of the model that can only be asked

RNG = np.random.default_rng(3)
LEARNED = RNG.normal(size=(20_000, FEATURES))
TARGET = LEARNED[:, 0] * 2 + np.sin(LEARNED[:, 1]) + LEARNED[:, 2] * LEARNED[:, 3]
ASKED = np.random.default_rng(5).normal(size=(ROWS, FEATURES))
FEW = slice(0, 4_000)  # for what learns slowly


def boosted() -> lightgbm.Booster:
    parameters = {"verbosity": -1, "num_threads": 1, "num_leaves": 31}
    return lightgbm.train(parameters, lightgbm.Dataset(LEARNED, TARGET), num_boost_round=TREES)


def families() -> list[tuple[str, str, bytes, Any]]:
    """Name, format, artifact, and what shap.TreeExplainer is given (None where it has no exact answer)."""
    booster = boosted()
    by_xgboost = xgboost.train(
        {"max_depth": 6, "nthread": 1}, xgboost.DMatrix(LEARNED[FEW], TARGET[FEW]), TREES
    )
    positive = (TARGET[FEW] > 0).astype(int)
    x, y = LEARNED[FEW], TARGET[FEW]
    fitted = [
        (
            "random forest, 50 trees of depth 8",
            RandomForestRegressor(50, max_depth=8, random_state=0).fit(x, y),
        ),
        ("random forest, classes", RandomForestClassifier(50, max_depth=6, random_state=0).fit(x, positive)),
        ("extra trees, 50 of depth 8", ExtraTreesRegressor(50, max_depth=8, random_state=0).fit(x, y)),
        ("gradient boosting, 100 trees", GradientBoostingRegressor(random_state=0).fit(x, y)),
        ("histogram boosting, 100 trees", HistGradientBoostingRegressor(random_state=0).fit(x, y)),
    ]
    linear = [
        ("ridge behind a scaler", make_pipeline(StandardScaler(), Ridge()).fit(x, y)),
        ("logistic regression", LogisticRegression().fit(x, positive)),
    ]
    return [
        ("LightGBM, 300 trees", "lightgbm", booster.model_to_string().encode(), booster),
        ("XGBoost, 300 trees", "xgboost_json", bytes(by_xgboost.save_raw("json")), by_xgboost),
        *((name, "skops", skops.io.dumps(model), model) for name, model in fitted),
        *((name, "skops", skops.io.dumps(model), None) for name, model in linear),
    ]


def alone() -> list[str]:
    """One line a family."""
    import shap

    lines = []
    for name, kind, artifact, model in families():
        predictor = load(kind, artifact)
        explainer = exact_explainer(predictor, len(artifact))
        assert explainer is not None
        explainer.explain(NAMES, ASKED[:2], None)
        took, (found, method) = timed(lambda: explainer.explain(NAMES, ASKED, None))  # noqa: B023
        settled = found.settled(explainer.tolerance)
        others, distance = "–", "–"
        if model is not None:
            tree = shap.TreeExplainer(model)
            seconds, values = timed(lambda: np.asarray(tree.shap_values(ASKED, check_additivity=False)))  # noqa: B023
            if values.ndim == 3:  # of each class: those of the predicted one
                best = np.argmax(model.predict_proba(ASKED), axis=1)
                values = values[np.arange(ROWS), :, best]
            others, distance = f"{seconds:.2f} s", f"{np.abs(values - found.contributions).max():.1e}"
        lines.append(
            f"| {name} | {method.name} | {found.error():.1e} | {settled.error():.1e} | {distance} | {took:.2f} s | {others} |"
        )
    return [*lines, asked_only(), *forecasts()]


def asked_only() -> str:
    """A network in ONNX, which can only be asked: permutation sampling adds up in every order by itself."""
    from explanations import model_agnostic

    ask, _ = asked_as_number(load("onnx", network()), ASKED)
    took, found = timed(
        lambda: model_agnostic.explain(ask, NAMES, ASKED, LEARNED[:BACKGROUND], seed=0, report=float)
    )
    return (
        f"| ONNX network, asked only | permutation sampling, {BACKGROUND} rows of background | {found.error():.1e} "
        f"| {found.settled(1e-5).error():.1e} | – | {took:.1f} s | – |"
    )


def network() -> bytes:
    """Twenty inputs, a hidden layer of 32, weights by seed."""
    weights = {
        "w": RNG.normal(0, 0.3, (FEATURES, 32)),
        "b": RNG.normal(0, 0.3, 32),
        "v": RNG.normal(0, 0.3, (32, 1)),
        "c": np.array([5.0]),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "v", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, each.shape, each.ravel().tolist())
            for name, each in weights.items()
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(made.SerializeToString())


def forecasts() -> list[str]:
    """The built-in forecasters: 1,008 medians each, of six weeks of forecasts."""
    hours = np.arange(200 * 24)
    noise = np.random.default_rng(0).normal(0, 2, hours.size)
    values = 50 + 20 * np.sin((hours - 6) / 24 * 2 * np.pi) - 12 * (hours // 24 % 7 >= 5) + noise
    lines = []
    for name, forecaster in FORECASTERS.items():
        errors, took, plain = [], [], []
        for week in range(6):
            series = Series(np.datetime64("2025-01-06", "us"), 60, values[: (190 - 7 * week) * 24])
            problem = Problem(series=series, steps=168)
            seconds, outcome = timed(lambda: forecaster.forecast(problem, explained=True))  # noqa: B023
            took.append(seconds)
            plain.append(timed(lambda: forecaster.forecast(problem))[0])  # noqa: B023
            account = outcome.attribution
            assert account is not None
            medians = outcome.quantiles[:, 1]
            whole = Attribution(account.names, account.values, account.base, account.contributions, medians)
            errors.append(whole.error())
        lines.append(
            f"| forecaster {name}, 168 steps | its own account | {max(errors):.1e} | {max(errors):.1e} | – "
            f"| {np.median(took) * 1000:.0f} ms, {np.median(plain) * 1000:.0f} ms without | – |"
        )
    return lines


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = act()
    return time.perf_counter() - began, found


def through_the_stack(questions: int) -> list[tuple[str, str, str]]:
    rows = np.random.default_rng(7).normal(size=(questions + 20, FEATURES)).round(4)
    found: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as made:
        stack = Stack(Path(folder))
        with stack as client:
            booster = boosted()
            artifact = Path(made) / "model.txt"
            booster.save_model(artifact)
            whose = ("--tenant", "bench", "--name", "bench", "--version", "v1.0.0")
            manage(stack, "register_model", str(artifact), *whose)

            def why(row: np.ndarray[Any, Any]) -> Any:
                said = {"tenant_id": "bench", "model_name": "bench", "input_features": named(row)}
                answer = client.post("/ai/explain", json=said)
                answer.raise_for_status()
                return answer.json()

            for row in rows[:20]:
                why(row)
            took = []
            for row in rows[20:]:
                seconds, answer = timed(lambda: why(row))  # noqa: B023
                took.append(seconds * 1000)
            assert answer["metadata"]["prediction_value"] == booster.predict(rows[-1:])[0]
            p50, p95 = np.percentile(took, [50, 95])
            found.append(
                (
                    f"one row, {questions} different ones, one after the other",
                    f"p50 {p50:.1f} ms, p95 {p95:.1f} ms",
                    f"p95 {BAR_LOCAL_MS} ms",
                )
            )
            took = [timed(lambda: why(rows[-1]))[0] * 1000 for _ in range(50)]
            found.append(("the same question again", f"p50 {np.median(took):.1f} ms", "–"))
            dataset = [named(row) for row in ASKED]
            body = {
                "tenant_id": "bench",
                "model_name": "bench",
                "dataset": dataset,
                "dataset_sample_size": ROWS,
            }
            seconds, answer = timed(lambda: client.post("/ai/explain/global", json=body))
            assert answer.status_code == 200, answer.text
            assert answer.json()["samples_analyzed"] == ROWS
            found.append((f"{ROWS:,} rows, as a dataset", f"{seconds:.2f} s", f"{BAR_GLOBAL_S:g} s"))
    began = time.perf_counter()
    import shap

    tree = shap.TreeExplainer(booster)
    making = time.perf_counter() - began
    one = np.median([timed(lambda: tree.shap_values(rows[-1:]))[0] for _ in range(50)]) * 1000
    found.append(("shap.TreeExplainer in this process, one row", f"{one:.1f} ms", "–"))
    found.append(
        (
            f"shap.TreeExplainer in this process, {ROWS:,} rows",
            f"{timed(lambda: tree.shap_values(ASKED))[0]:.2f} s",
            "–",
        )
    )
    found.append(("import shap and its explainer, once a process", f"{making:.1f} s", "–"))
    return found


def named(row: Any) -> dict[str, float]:
    return dict(zip((f"f{index}" for index in range(FEATURES)), row.tolist(), strict=True))


def report(stacked: list[tuple[str, str, str]], lines: list[str]) -> str:
    return "\n".join(
        [
            "# Explanations",
            "",
            f"{machine()}. Whatever else ran took its share.",
            "",
            "## Through the whole stack",
            "",
            f"LightGBM, {TREES} trees of 31 leaves, {FEATURES} features; web server, token, database, TreeSHAP, the row that is kept.",
            "",
            "| What | Measured | Bar |",
            "|---|---|---|",
            *(f"| {what} | {number} | {bar} |" for what, number, bar in stacked),
            "",
            "## Do they add up, and are they shap's",
            "",
            f"{ROWS:,} random rows a family. *Found* is the error of base and contributions against the model's own answer, as a share of",
            f"what is added up; *answered* is what is left in an answer, which is checked before it leaves (bar {BAR_ADDS_UP:g}): what",
            "float32 leaves of XGBoost goes into its base. *From shap* is the largest distance of any contribution from",
            f"shap.TreeExplainer's (bar {BAR_AGREES:g}), which has no exact answer where a line is drawn.",
            "",
            "| Model | Method | Found | Answered | From shap | Time, 1,000 rows | shap's time |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Written by `make bench-explain`.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--write", type=Path, help="a Markdown file")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    stacked = through_the_stack(asked.questions)
    text = report(stacked, alone())
    print(text)
    if asked.write:
        asked.write.write_text(text)


if __name__ == "__main__":
    main()
