"""What Celery runs of the explanations."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from explanations import actions
from explanations.attribution import Attribution
from omarino.errors import HubError


@shared_task(name="explanations.explain", throws=(HubError,))
def explain(explanation_id: str) -> None:
    actions.work_out(explanation_id=explanation_id, by_asking=_by_asking)


def _by_asking(*arguments: Any, **options: Any) -> Attribution:
    from explanations import model_agnostic  # shap: only where it is needed, and in no web process

    return model_agnostic.explain(*arguments, **options)
