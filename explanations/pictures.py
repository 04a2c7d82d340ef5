"""Which picture of an explanation, drawn from what was kept."""

from __future__ import annotations

from explanations import drawing
from explanations.errors import NoSuchPicture
from explanations.models import Explanation, Scope, Subject
from explanations.wording import label_of, number

OF_SCOPE = {Scope.LOCAL: ("waterfall", "force"), Scope.GLOBAL: ("beeswarm",)}


def picture(explanation: Explanation, kind: str = "") -> str:
    """SVG of a completed explanation; of the first kind there is when none is named. Raises NoSuchPicture."""
    kinds = OF_SCOPE[Scope(explanation.scope)]
    if kind and kind not in kinds:
        raise NoSuchPicture(kind=kind, kinds=" and ".join(kinds))
    kind = kind or kinds[0]
    title = title_of(explanation)
    if kind == "beeswarm":
        return drawing.beeswarm(explanation.swarm, title=title, description=_over_rows(explanation))
    draw = drawing.waterfall if kind == "waterfall" else drawing.force
    return draw(
        explanation.answer, title=title, unit=explanation.answer["metadata"].get("unit", explanation.unit)
    )


def title_of(explanation: Explanation) -> str:
    what = f"{explanation.model_name} {explanation.model_version}"
    if explanation.scope == Scope.GLOBAL:
        return f"What {what} looks at"
    if explanation.subject == Subject.MODEL or explanation.target_at is None:
        return f"Why {what} says so"
    return f"Why {explanation.asset_id} at {explanation.target_at:%Y-%m-%d %H:%M} UTC, by {what}"


def _over_rows(explanation: Explanation) -> str:
    answer = explanation.answer
    listed = ", ".join(
        f"{label_of(each['feature_name'])} {number(each['mean_abs_shap'])}"
        for each in answer["global_importances"][: drawing.SHOWN]
    )
    return (
        f"{answer['summary']['explanation']} A dot for each of {answer['samples_analyzed']} rows or fewer; to the right "
        f"it adds, to the left it takes away. Mean sizes: {listed}."
    )
