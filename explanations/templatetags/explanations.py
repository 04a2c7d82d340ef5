"""What was explained, beside what it explains."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template

from explanations.admin import pictures_of
from explanations.models import Explanation, Subject
from omarino.jobs import JobStatus

register = template.Library()
KEPT = 5


@register.inclusion_tag("admin/explanations/explanation/beside.html", takes_context=True)
def explanations_of(context: dict[str, Any], subject: str, row: Any, points: Any = None) -> dict[str, Any]:
    """The newest explanation of a row with its picture, the ones before, and a button for another.

    points: the steps of a forecast or the findings of a detection, of which a person can choose one.
    """
    rows = Explanation.objects.for_tenant(row.tenant_id).of(Subject(subject), row.pk)
    found = list(rows.filter(status=JobStatus.COMPLETED)[:KEPT])
    newest = found[0] if found else None
    return {
        "request": context.get("request"),
        "csrf_token": context.get("csrf_token"),
        "subject": subject,
        "row": row,
        "points": [_time_of(point) for point in points or ()],
        "newest": newest,
        "chosen": newest.point if newest else None,
        "picture": pictures_of(newest)[0][1] if newest else "",
        "earlier": found[1:],
    }


def _time_of(point: Any) -> datetime:
    found: datetime = point["at"] if isinstance(point, dict) else point.timestamp
    return found
