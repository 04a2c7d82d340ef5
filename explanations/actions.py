"""What one can do with explanations: ask why, and work out what takes longer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from anomalies.models import Detection
from explanations import kept, model_questions
from explanations.answers import About, global_answer, local_answer, swarm_of
from explanations.errors import (
    BuiltInWithoutForecast,
    NothingToExplain,
    NotThisModels,
    TwoThingsToExplain,
)
from explanations.model_questions import Asked, ByAsking
from explanations.models import Explanation, Scope, Subject
from forecasting.forecasters import FORECASTERS
from forecasting.models import Forecast
from omarino import metrics
from omarino.errors import HubError, NotFound, Outage
from omarino.jobs import OUR_FAULT, JobStatus, JobTaken
from registry.actions import version_of
from registry.models import ModelVersion, Reference

COMPUTATION = 2  # raise it when the same question comes to have another answer
TOO_LONG = "It took longer than an explanation may. Ask for fewer samples."
LATEST = "latest"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """The row of an explanation but its answer. facts: all the answer is a function of, the tenant apart."""

    scope: Scope
    subject: Subject
    subject_id: UUID
    model_name: str
    model_version: str
    facts: Any
    asset_id: str = ""
    unit: str = ""
    point: int | None = None
    target_at: datetime | None = None
    horizon_hours: int | None = None
    work: dict[str, Any] = field(default_factory=dict)
    asked_at: float = field(default_factory=time.perf_counter)

    @property
    def digest(self) -> str:
        told = [COMPUTATION, self.scope, self.subject, str(self.subject_id), self.point, self.facts]
        return hashlib.sha256(orjson.dumps(told, default=str)).hexdigest()


def explain(
    *,
    tenant_id: str,
    by: str,
    model_name: str | None = None,
    model_version: str = LATEST,
    prediction_id: UUID | None = None,
    input_features: Mapping[str, Any] | None = None,
    max_samples: int | None = None,
    step: int | None = None,
    timestamp: datetime | None = None,
    asset_id: str | None = None,
    background: Sequence[Mapping[str, Any]] | None = None,
) -> Explanation:
    """Why one prediction is what it is. A pending row where that takes longer than somebody waits."""
    if prediction_id is not None and input_features is not None:
        raise TwoThingsToExplain
    if prediction_id is not None:
        row = _kept(tenant_id, prediction_id)
        _check_made_by(row, prediction_id, model_name, model_version)
        if isinstance(row, Forecast):
            return _explain_forecast(row, by=by, step=step, timestamp=timestamp)
        return _explain_detection(row, by=by, index=step, timestamp=timestamp)
    if model_name is None or input_features is None:
        if model_name is not None and _built_in(tenant_id, model_name):
            raise BuiltInWithoutForecast(model_name=model_name)
        raise NothingToExplain
    version = _version(tenant_id, model_name, model_version)
    asked = model_questions.asked_of(
        version,
        rows=model_questions.rows_of(version, [input_features]),
        size=max_samples or settings.SHAP_MAX_SAMPLES,
        background=model_questions.rows_of(version, background),
        asset_id=asset_id,
        is_global=False,
    )
    return _of_model(asked, by=by, asset_id=asset_id)


def explain_globally(
    *,
    tenant_id: str,
    by: str,
    model_name: str | None = None,
    model_version: str = LATEST,
    prediction_id: UUID | None = None,
    dataset_sample_size: int = 100,
    dataset: Sequence[Mapping[str, Any]] | None = None,
    asset_id: str | None = None,
) -> Explanation:
    """What a model looks at, over a dataset, over rows drawn from stored readings, or over a forecast's steps."""
    if prediction_id is not None:
        if dataset is not None:
            raise TwoThingsToExplain
        row = _kept(tenant_id, prediction_id)
        _check_made_by(row, prediction_id, model_name, model_version)
        if not isinstance(row, Forecast):
            raise NothingToExplain
        return _explain_all_steps(row, by=by)
    if model_name is None:
        raise NothingToExplain
    version = _version(tenant_id, model_name, model_version)
    rows = model_questions.rows_of(version, dataset)
    asked = model_questions.asked_of(
        version,
        rows=model_questions.sampled(rows, dataset_sample_size),
        size=dataset_sample_size,
        background=None,
        asset_id=asset_id,
        is_global=True,
    )
    return _of_model(asked, by=by, asset_id=asset_id)


def work_out(*, explanation_id: UUID | str, by_asking: ByAsking) -> None:
    """Answer a row that waits, if it is still ours to answer. Whatever happens is written on it."""
    explanation = Explanation.objects.claim(explanation_id)
    if explanation is None:
        return
    try:
        with explanation.in_hand():
            _work_in_hand(explanation, by_asking)
    except JobTaken:
        log.info("explanation_given_up", explanation_id=str(explanation.pk))


def _work_in_hand(explanation: Explanation, by_asking: ByAsking) -> None:
    began = time.perf_counter()
    try:
        answer, swarm = _answer_of(explanation, by_asking)
        explanation.complete(answer=answer, swarm=swarm, question={})
        _tell(explanation, began)
    except (JobTaken, OperationalError, InterfaceError):
        raise
    except HubError as refusal:
        explanation.fail(str(refusal))
    except Outage as outage:
        explanation.release(str(outage))
    except SoftTimeLimitExceeded:
        explanation.fail(TOO_LONG)
    except Exception:
        explanation.fail(OUR_FAULT)
        raise


def _answer_of(explanation: Explanation, by_asking: ByAsking) -> tuple[dict[str, Any], dict[str, Any]]:
    said = explanation.question
    versions = ModelVersion.objects.for_tenant(explanation.tenant_id).select_related("model")
    version = versions.filter(pk=said["version_id"]).first()
    if version is None:
        raise NotFound
    asked = model_questions.asked_of(
        version,
        rows=model_questions.table_of(said["rows"]),
        size=said["size"],
        background=model_questions.table_of(said["background"]),
        asset_id=said["asset_id"],
        is_global=said["is_global"],
    )
    return _answered(asked, by_asking, explanation.report)


def _of_model(asked: Asked, *, by: str, asset_id: str | None) -> Explanation:
    version = asked.version
    question = Question(
        scope=Scope.GLOBAL if asked.is_global else Scope.LOCAL,
        subject=Subject.MODEL,
        subject_id=version.pk,
        model_name=version.model.name,
        model_version=version.version,
        facts=asked.identity,
        asset_id=asset_id or "",
        unit=_unit_of(version),
        work=asked.as_question(asset_id),
    )
    if known := _known(version.tenant_id, question):
        return known
    if not model_questions.is_light(asked):
        return _put_off(version.tenant_id, by, question)
    answer, swarm = _answered(asked, None, model_questions.unheard)
    return _keep(version.tenant_id, by, question, answer, swarm)


def _answered(asked: Asked, by_asking: ByAsking | None, report: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    attribution, method = model_questions.attribution_of(asked, by_asking=by_asking, report=report)
    is_value = method.output == "the prediction"
    unit = _unit_of(asked.version) if is_value else ""
    if asked.is_global:
        return global_answer(attribution, method, unit), swarm_of(attribution)
    opening = "The prediction is" if is_value else f"The {method.output.removeprefix('the ')} is"
    return local_answer(attribution, method, About(opening, "its base", unit)), {}


def _explain_forecast(
    forecast: Forecast, *, by: str, step: int | None, timestamp: datetime | None
) -> Explanation:
    index = kept.step_of(forecast, step, timestamp)
    question = _of_forecast(forecast, Scope.LOCAL, point=index, target_at=kept.time_of(forecast, index))
    if known := _known(forecast.tenant_id, question):
        return known
    attribution, method = kept.attribution_of(forecast)
    about = kept.about_forecast(forecast, index)
    answer = local_answer(attribution, method, about, row=index)
    return _keep(forecast.tenant_id, by, question, answer, {})


def _explain_all_steps(forecast: Forecast, *, by: str) -> Explanation:
    question = _of_forecast(forecast, Scope.GLOBAL)
    if known := _known(forecast.tenant_id, question):
        return known
    attribution, method = kept.attribution_of(forecast)
    answer = global_answer(attribution, method, forecast.unit)
    return _keep(forecast.tenant_id, by, question, answer, swarm_of(attribution))


def _of_forecast(
    forecast: Forecast, scope: Scope, *, point: int | None = None, target_at: datetime | None = None
) -> Question:
    return Question(
        scope=scope,
        subject=Subject.FORECAST,
        subject_id=forecast.pk,
        model_name=forecast.model_name,
        model_version=forecast.model_version,
        facts=forecast.inputs_digest,
        asset_id=forecast.asset_id,
        unit=forecast.unit,
        point=point,
        target_at=target_at,
        horizon_hours=forecast.horizon_hours,
    )


def _explain_detection(
    detection: Detection, *, by: str, index: int | None, timestamp: datetime | None
) -> Explanation:
    index = kept.anomaly_of(detection, index, timestamp)
    question = Question(
        scope=Scope.LOCAL,
        subject=Subject.DETECTION,
        subject_id=detection.pk,
        model_name=detection.method,
        model_version=kept.DETECTOR_VERSION,
        facts=detection.inputs_digest,
        asset_id=detection.asset_id,
        unit=detection.unit,
        point=index,
        target_at=datetime.fromisoformat(detection.anomalies[index]["timestamp"]),
    )
    if known := _known(detection.tenant_id, question):
        return known
    attribution, method, about = kept.attribution_of_anomaly(detection, index)
    return _keep(detection.tenant_id, by, question, local_answer(attribution, method, about), {})


def _kept(tenant_id: str, prediction_id: UUID) -> Forecast | Detection:
    """The tenant's forecast or detection of that id, or NotFound."""
    found = (
        Forecast.objects.for_tenant(tenant_id).filter(pk=prediction_id).first()
        or Detection.objects.for_tenant(tenant_id).filter(pk=prediction_id).first()
    )
    if found is None:
        raise NotFound
    return found


def _check_made_by(
    row: Forecast | Detection, prediction_id: UUID, model_name: str | None, model_version: str
) -> None:
    name = row.model_name if isinstance(row, Forecast) else row.method
    version = row.model_version if isinstance(row, Forecast) else kept.DETECTOR_VERSION
    same_name = model_name is None or model_name == name or f"{model_name}_v1" == name
    if not same_name or model_version not in (LATEST, "production", version):
        raise NotThisModels(
            prediction_id=prediction_id,
            made_by=f"{name} {version}",
            asked=f"{model_name or name} {model_version}",
        )


def _version(tenant_id: str, model_name: str, model_version: str) -> ModelVersion:
    if _built_in(tenant_id, model_name):
        raise BuiltInWithoutForecast(model_name=model_name)
    reference = Reference.parse(f"{tenant_id}:{model_name}:{model_version}")
    return version_of(tenant_id=tenant_id, reference=reference)


def _built_in(tenant_id: str, model_name: str) -> bool:
    """A tenant's own model of that name comes first."""
    if model_name not in FORECASTERS and f"{model_name}_v1" not in FORECASTERS:
        return False
    return not ModelVersion.objects.for_tenant(tenant_id).filter(model__name=model_name).exists()


def _unit_of(version: ModelVersion) -> str:
    unit = version.metadata.get("unit")
    return unit[:32] if isinstance(unit, str) else ""


def _known(tenant_id: str, question: Question) -> Explanation | None:
    return Explanation.objects.for_tenant(tenant_id).that_answers(question.digest)


def _row(tenant_id: str, by: str, question: Question) -> Explanation:
    now = timezone.now()
    return Explanation(
        tenant_id=tenant_id,
        requested_by=by,
        requested_at=now,
        enqueued_at=now,
        scope=question.scope,
        subject=question.subject,
        subject_id=question.subject_id,
        model_name=question.model_name,
        model_version=question.model_version,
        asset_id=question.asset_id,
        unit=question.unit,
        point=question.point,
        target_at=question.target_at,
        question_digest=question.digest,
    )


def _keep(
    tenant_id: str, by: str, question: Question, answer: dict[str, Any], swarm: dict[str, Any]
) -> Explanation:
    """A row that was answered at once."""
    row = _row(tenant_id, by, question)
    row.status, row.progress = JobStatus.COMPLETED, 1.0
    row.started_at = row.completed_at = timezone.now()
    row.answer, row.swarm = answer, swarm
    row.save(force_insert=True)
    _tell(row, question.asked_at, question.horizon_hours)
    return row


def _put_off(tenant_id: str, by: str, question: Question) -> Explanation:
    """A row for a worker."""
    row = _row(tenant_id, by, question)
    row.question = question.work
    row.save(force_insert=True)
    row.enqueue()
    return row


def _tell(row: Explanation, began: float, horizon_hours: int | None = None) -> None:
    """Once for each answer that was worked out; one that was kept already is given without a line."""
    known = {"asset_id": row.asset_id or None, "horizon_hours": horizon_hours}
    log.info(
        "explanation_made",
        tenant_id=row.tenant_id,
        **{name: value for name, value in known.items() if value is not None},
        model_name=row.model_name,
        latency_ms=metrics.elapsed_ms(began),
        explanation_id=str(row.pk),
        scope=str(row.scope),
        subject=str(row.subject),
    )
