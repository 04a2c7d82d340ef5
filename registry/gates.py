"""The rules a version must meet to be put into production, judged on numbers. No framework here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HIGHER_IS_BETTER = frozenset(
    {"r2_score", "accuracy", "precision", "recall", "f1_score", "coverage", "roc_auc"}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule, whether it holds, and the numbers in a sentence."""

    rule: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class NotWorse:
    """The candidate's metric may be worse than the incumbent's by at most `percent` of its size."""

    metric: str
    percent: float
    higher_is_better: bool

    def judge(self, candidate: Mapping[str, float], incumbent: Mapping[str, float]) -> Finding:
        rule = f"not worse than the incumbent by more than {self.percent:g} % on {self.metric}"
        if self.metric not in incumbent:
            return Finding(rule, True, f"The incumbent has no {self.metric} to compare with.")
        if self.metric not in candidate:
            return Finding(
                rule,
                False,
                f"The candidate has no {self.metric}; the incumbent has {incumbent[self.metric]:g}.",
            )
        have, before = candidate[self.metric], incumbent[self.metric]
        loss = before - have if self.higher_is_better else have - before
        allowed = abs(before) * self.percent / 100
        word = "at least" if self.higher_is_better else "at most"
        limit = before - allowed if self.higher_is_better else before + allowed
        detail = f"{self.metric} is {have:g}, the incumbent's is {before:g}; {word} {limit:g} is asked for."
        return Finding(rule, loss <= allowed + 1e-12 * abs(before), detail)


@dataclass(frozen=True, slots=True)
class Gates:
    """What is asked of every version of one model."""

    required_metrics: tuple[str, ...] = ()
    not_worse: tuple[NotWorse, ...] = ()
    two_person: bool = False

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Gates:
        """From the row's JSON, as `PUT .../gates` has checked it."""
        return cls(
            required_metrics=tuple(said.get("required_metrics", ())),
            not_worse=tuple(
                NotWorse(rule["metric"], rule["percent"], _direction(rule))
                for rule in said.get("not_worse", ())
            ),
            two_person=said.get("two_person", False),
        )

    def judge(
        self,
        candidate: Mapping[str, float],
        incumbent: Mapping[str, float] | None,
        *,
        approved_by: frozenset[str],
        promoted_by: str,
    ) -> list[Finding]:
        """A finding for each rule. Without an incumbent nothing is compared.

        >>> gates = Gates(not_worse=(NotWorse("mae", 5.0, False),))
        >>> [finding.holds for finding in gates.judge(
        ...     {"mae": 2.2}, {"mae": 2.0}, approved_by=frozenset(), promoted_by="alice")]
        [False]
        """
        findings = [
            Finding(
                f"has {metric}",
                metric in candidate,
                f"{metric} is {candidate[metric]:g}." if metric in candidate else f"{metric} was not given.",
            )
            for metric in self.required_metrics
        ]
        if incumbent is not None:
            findings += [rule.judge(candidate, incumbent) for rule in self.not_worse]
        if self.two_person:
            others = sorted(approved_by - {promoted_by})
            said = (
                f"Approved by {', '.join(others)}."
                if others
                else "Nobody but the one who promotes has approved it."
            )
            findings.append(Finding("approved by a second person", bool(others), said))
        return findings


def _direction(rule: Mapping[str, Any]) -> bool:
    said = rule.get("higher_is_better")
    return rule["metric"] in HIGHER_IS_BETTER if said is None else bool(said)


def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics by name, those of `custom_metrics` among them."""
    own = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return {**metrics.get("custom_metrics", {}), **own}


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of two versions; `is_better` is None where one of them has no number, or they are equal."""

    metric: str
    candidate: float | None
    incumbent: float | None
    is_better: bool | None


def beside(candidate: Mapping[str, Any], incumbent: Mapping[str, Any]) -> list[Compared]:
    """The metrics of both, each by name.

    >>> [(row.metric, row.is_better) for row in beside({"mae": 1.0, "r2_score": 0.5}, {"mae": 2.0})]
    [('mae', True), ('r2_score', None)]
    """
    ours, theirs = flat(candidate), flat(incumbent)
    rows = []
    for metric in dict.fromkeys([*ours, *theirs]):
        have, before = ours.get(metric), theirs.get(metric)
        differs = have is not None and before is not None and have != before
        is_better = (have > before) == (metric in HIGHER_IS_BETTER) if differs else None  # type: ignore[operator]
        rows.append(Compared(metric, have, before, is_better))
    return rows
