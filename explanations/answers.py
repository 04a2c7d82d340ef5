"""From an attribution to what is answered: parts by rank, waterfall, force, groups, a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explanations.attribution import Attribution, Method, Part, grouped, importances_of, parts_of
from explanations.wording import GROUPS, group_of, label_of, sentence

MOST_DOTS, MOST_LINES = 300, 12  # of the beeswarm


@dataclass(frozen=True, slots=True)
class About:
    """What a sentence needs to know. usual: what the base is called in it. unit: of the contributions.

    said: the whole sentence, where it is another.
    """

    opening: str
    usual: str
    unit: str = ""
    said: str = ""


def local_answer(attribution: Attribution, method: Method, about: About, *, row: int = 0) -> dict[str, Any]:
    """The answer for one prediction; every number in the unit of what is explained."""
    parts = parts_of(attribution, row)
    base, value = float(attribution.base[row]), float(attribution.predictions[row])
    steps = base + np.cumsum([part.contribution for part in parts])
    return {
        "feature_importances": [
            {
                "feature_name": part.name,
                "importance": abs(part.contribution),
                "value": part.value,
                "contribution": part.contribution,
                "rank": part.rank,
            }
            for part in parts
        ],
        "metadata": {
            "explanation_method": method.name,
            "base_value": base,
            "prediction_value": value,
            "samples_used": method.samples_used,
            "output": method.output,
            "background": method.background,
            **method.more,
        },
        "waterfall_data": [
            {"feature_name": part.name, "contribution": part.contribution, "cumulative_value": float(reached)}
            for part, reached in zip(parts, steps, strict=True)
        ],
        "force_data": [
            {
                "feature_name": part.name,
                "feature_value": part.value,
                "shap_value": part.contribution,
                "is_positive": part.contribution > 0,
            }
            for part in parts
        ],
        "groups": [
            {"group": group, "label": GROUPS[group], "contribution": amount}
            for group, amount in grouped(parts, group_of).items()
        ],
        "summary": {
            "top_3_features": [part.name for part in parts[:3]],
            "total_contribution": value - base,
            "explanation": about.said
            or sentence(about.opening, value, base, parts, unit=about.unit, usual=about.usual),
        },
    }


def global_answer(attribution: Attribution, method: Method, unit: str) -> dict[str, Any]:
    """The answer for a model over many rows."""
    found = importances_of(attribution)
    groups = grouped([Part(each.name, None, each.mean_abs, each.rank) for each in found], group_of)
    largest = [label_of(each.name) for each in found[:3] if each.mean_abs > 0]
    return {
        "global_importances": [
            {
                "feature_name": each.name,
                "mean_abs_shap": each.mean_abs,
                "mean_shap": each.mean,
                "importance_rank": each.rank,
            }
            for each in found
        ],
        "samples_analyzed": len(attribution.base),
        "groups": [
            {"group": group, "label": GROUPS[group], "mean_abs_shap": amount}
            for group, amount in groups.items()
        ],
        "metadata": {
            "explanation_method": method.name,
            "base_value": float(attribution.base.mean()),
            "samples_used": method.samples_used or len(attribution.base),
            "output": method.output,
            "background": method.background,
            "unit": unit,
            **method.more,
        },
        "summary": {"explanation": _looks_at(largest)},
    }


def _looks_at(labels: Sequence[str]) -> str:
    if not labels:
        return "No feature changes what it says of these rows."
    listed = " and ".join(part for part in (", ".join(labels[:-1]), labels[-1]) if part)
    return f"It looks most at {listed}."


def swarm_of(attribution: Attribution) -> dict[str, Any]:
    """What the beeswarm draws: the largest features, and of them rows evenly taken, values as shares of their range."""
    rows = np.unique(np.linspace(0, len(attribution.base) - 1, MOST_DOTS).astype(np.int64))
    lines = []
    for each in importances_of(attribution)[:MOST_LINES]:
        k = attribution.names.index(each.name)
        values = attribution.values[:, k]
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        shares = (values[rows] - low) / (high - low) if high > low else np.full(rows.size, np.nan)
        lines.append(
            {
                "name": each.name,
                "low": low,
                "high": high,
                "contributions": [
                    float(f"{amount:.5g}") for amount in attribution.contributions[rows, k].tolist()
                ],
                "shares": [round(share, 3) if share == share else None for share in shares.tolist()],
            }
        )
    return {"lines": lines}
