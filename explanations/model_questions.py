"""What a registered model says of rows, told as a sum: which way, against what, and how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explanations.attribution import Attribution, DoesNotAddUp, Method
from explanations.background import SEED, Source, draw, source_of
from explanations.errors import NoBackground, NotAdditive, TooManyFeatures
from explanations.exact import Explainer, asked_as_number, exact_explainer
from registry import serving
from registry.errors import ModelFailed
from registry.formats.base import Predictor
from registry.models import ModelVersion

Floats = NDArray[np.float64]

AT_ONCE_SECONDS = 2.5
MOST_FEATURES_ASKED = 500
MOST_BACKGROUND = 100  # rows a model is asked against in a global explanation
ROWS_BETWEEN_REPORTS = 100


class ByAsking(Protocol):
    """`model_agnostic.explain`, which only the worker can give."""

    def __call__(
        self,
        ask: Callable[[Floats], Floats],
        names: tuple[str, ...],
        rows: Floats,
        background: Floats,
        *,
        seed: int,
        report: Callable[[float], None],
    ) -> Attribution: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to a version: rows to explain, or how many to draw; a background, or where to draw it from."""

    version: ModelVersion
    rows: Floats | None
    size: int
    background: Floats | None
    source: Source | None
    is_global: bool

    @property
    def identity(self) -> list[Any]:
        """Changes with whatever changes the answer."""
        return [
            str(self.version.pk),
            self.version.sha256,
            _plain(self.rows),
            self.size if self.rows is None or self.source is not None else 0,
            _plain(self.background),
            None if self.source is None else self.source.identity,
            self.is_global,
        ]

    def as_question(self, asset_id: str | None) -> dict[str, Any]:
        """For the worker, who asks the same a little later."""
        return {
            "version_id": str(self.version.pk),
            "rows": _plain(self.rows),
            "size": self.size,
            "background": _plain(self.background),
            "asset_id": asset_id,
            "is_global": self.is_global,
        }


def asked_of(
    version: ModelVersion,
    *,
    rows: Floats | None,
    size: int,
    background: Floats | None,
    asset_id: str | None,
    is_global: bool,
) -> Asked:
    """Looks where rows would come from, where any have to be drawn. Raises NoBackground, TooManyFeatures."""
    serving.check_size(version, size if rows is None else len(rows))
    explainer = explainer_of(version)
    source: Source | None = None
    if rows is None:
        source = source_of(version, asset_id=asset_id, field="a dataset")
    elif background is None and not is_global and (explainer is None or explainer.wants_background):
        try:
            source = source_of(version, asset_id=asset_id, field="background rows")
        except NoBackground:
            if explainer is None:
                raise
    if explainer is None and len(serving.columns_of(version)) > MOST_FEATURES_ASKED:
        raise TooManyFeatures(
            model_id=str(version), have=len(serving.columns_of(version)), most=MOST_FEATURES_ASKED
        )
    return Asked(version, rows, size, background, source, is_global)


def explainer_of(version: ModelVersion) -> Explainer | None:
    """Kept as long as the loaded model is. None: it can only be asked."""
    predictor = serving.predictor_of(version)
    kept = vars(predictor)
    if "explainer" not in kept:
        kept["explainer"] = exact_explainer(predictor, version.size_bytes or 0)
    found: Explainer | None = kept["explainer"]
    return found


def is_light(asked: Asked) -> bool:
    """Whether somebody can wait for the answer."""
    explainer = explainer_of(asked.version)
    rows = asked.size if asked.rows is None else len(asked.rows)
    return explainer is not None and explainer.seconds(rows) <= AT_ONCE_SECONDS


def attribution_of(
    asked: Asked, *, by_asking: ByAsking | None, report: Callable[[float], None]
) -> tuple[Attribution, Method]:
    """The contributions, checked to add up.

    Raises:
        NoBackground: there are no rows to draw.
        NotAdditive: the model answers words, or its parts do not add up.
        ModelFailed: it cannot answer for these rows.
    """
    version = asked.version
    predictor = serving.predictor_of(version)
    explainer = explainer_of(version)
    drawn = "" if asked.source is None else f", drawn by seed {SEED} from {asked.source.words}"
    rows = asked.rows
    if rows is None and asked.source is not None:
        rows = draw(version, asked.source, asked.size, field="a dataset")
    assert rows is not None  # noqa: S101  asked_of found rows or a source
    names = tuple(serving.columns_of(version))
    background = _background(asked, rows, explainer)
    try:
        if explainer is not None:
            tolerance = explainer.tolerance
            attribution, method = _in_chunks(explainer, names, rows, background, report)
        else:
            assert by_asking is not None  # noqa: S101  is_light sent everything else to the worker
            assert background is not None  # noqa: S101  asked_of found one
            attribution, method = _by_asking(by_asking, predictor, names, rows, background, report)
            tolerance = 1e-5  # ONNX computes in float32
        settled = attribution.settled(tolerance)
    except DoesNotAddUp as fault:
        raise NotAdditive(what=f"The answer of {version}", reason=str(fault)) from fault
    except serving.FAULTS as fault:
        raise ModelFailed(model_id=str(version), reason=str(fault)[:300].rstrip(".")) from fault
    if drawn and (asked.rows is None or background is not None):
        more = {"rows_from" if asked.rows is None else "background_from": drawn.removeprefix(", ")}
        method = replace(method, more={**method.more, **more})
    return settled, method


def _background(asked: Asked, rows: Floats, explainer: Explainer | None) -> Floats | None:
    """The rows an answer is held against, where that matters."""
    if explainer is not None and not explainer.wants_background and asked.background is None:
        return None
    if asked.background is not None:
        return asked.background
    if asked.is_global:
        if explainer is not None:
            return rows
        chosen = np.random.default_rng(SEED).permutation(len(rows))[:MOST_BACKGROUND]
        return np.asarray(rows[np.sort(chosen)])
    if asked.source is None:
        return None
    try:
        return draw(asked.version, asked.source, asked.size, field="background rows")
    except NoBackground:
        if explainer is None:
            raise
        return None


def _in_chunks(
    explainer: Explainer,
    names: tuple[str, ...],
    rows: Floats,
    background: Floats | None,
    report: Callable[[float], None],
) -> tuple[Attribution, Method]:
    if explainer.seconds(len(rows)) <= AT_ONCE_SECONDS:
        return explainer.explain(names, rows, background)
    parts = []
    for first in range(0, len(rows), ROWS_BETWEEN_REPORTS):
        parts.append(explainer.explain(names, rows[first : first + ROWS_BETWEEN_REPORTS], background))
        report(min(1.0, (first + ROWS_BETWEEN_REPORTS) / len(rows)))
    whole = Attribution(
        names,
        rows,
        np.concatenate([part.base for part, _ in parts]),
        np.concatenate([part.contributions for part, _ in parts]),
        np.concatenate([part.predictions for part, _ in parts]),
    )
    return whole, parts[0][1]


def _by_asking(
    by_asking: ByAsking,
    predictor: Predictor,
    names: tuple[str, ...],
    rows: Floats,
    background: Floats,
    report: Callable[[float], None],
) -> tuple[Attribution, Method]:
    try:
        ask, output = asked_as_number(predictor, rows)
    except TypeError as fault:
        raise NotAdditive(what="The answer of this model", reason=str(fault)) from fault
    attribution = by_asking(ask, names, rows, background, seed=SEED, report=report)
    said = f"the mean answer over {len(background)} rows"
    return attribution, Method("permutation sampling by shap", output, said, len(background))


def _plain(table: Floats | None) -> list[list[float | None]] | None:
    if table is None:
        return None
    return [[number if number == number else None for number in row] for row in table.tolist()]


def table_of(plain: Sequence[Sequence[float | None]] | None) -> Floats | None:
    return None if plain is None else np.array(plain, dtype=np.float64)


def rows_of(version: ModelVersion, given: Sequence[Mapping[str, Any]] | None) -> Floats | None:
    return None if given is None else serving.rows_of(version, given)


def sampled(rows: Floats | None, size: int) -> Floats | None:
    """At most `size` of the rows, taken by seed, in their order."""
    if rows is None or len(rows) <= size:
        return rows
    chosen = np.random.default_rng(SEED).permutation(len(rows))[:size]
    return np.asarray(rows[np.sort(chosen)])


def unheard(share: float) -> None:
    """Progress that nobody waits for."""
