"""A share of a model's traffic for another version: who is answered by which, what both took, and who was nearer."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from django.core import signing
from django.db import close_old_connections, connections, transaction
from django.db.models import Avg, Count, F, Variance
from django.db.models.functions import Now
from numpy.typing import NDArray

from omarino import audit
from omarino.authentication import Principal
from omarino.errors import HubError
from registry import compare, serving
from registry.counting import COUNTERS
from registry.errors import NoTraffic, OutcomeRefused, TrafficRefused
from registry.models import ModelVersion, RegisteredModel
from registry.traffic_models import Mode, Outcome, TrafficSplit, Variant

SALT = "registry.prediction"
WAITING_AT_MOST = 64  # shadow requests of this process; more are dropped and counted
OUTCOME_DAYS = 90
log = structlog.get_logger(__name__)


# Setting up and ending


def start(*, model: RegisteredModel, by: Principal, mode: str, challenger: str, share: float) -> TrafficSplit:
    """In the place of the split there is, if any. Raises TrafficRefused."""
    with transaction.atomic():
        held = RegisteredModel.objects.for_tenant(model.tenant_id).select_for_update().get(pk=model.pk)
        production = held.versions.production().first()
        candidate = held.versions.filter(version=challenger).first()
        if production is None:
            raise TrafficRefused(reason="no version of the model is in production")
        if candidate is None or candidate.pk == production.pk:
            raise TrafficRefused(reason="the challenger must be another registered version of this model")
        production.model = candidate.model = held
        if serving.columns_of(candidate) != serving.columns_of(production):
            raise TrafficRefused(reason="the two versions must take the same features in the same order")
        _end(held, f"replaced by another, by {by.username}")
        split = TrafficSplit(
            tenant_id=held.tenant_id,
            model=held,
            challenger=candidate,
            mode=mode,
            share=share,
            production_version=production.version,
            challenger_version=candidate.version,
            started_by=by.username,
        )
        split.save(force_insert=True)
        held.split = split
        held.save(update_fields=["split"])
        split.refresh_from_db()
        audit.record(held.tenant_id, "started", "traffic", _label(held), after=split, split_id=str(split.pk))
    return split


def stop(*, model: RegisteredModel, by: Principal) -> TrafficSplit:
    with transaction.atomic():
        held = RegisteredModel.objects.for_tenant(model.tenant_id).select_for_update().get(pk=model.pk)
        ended = _end(held, f"ended by {by.username}")
    if ended is None:
        raise NoTraffic(model=str(model))
    return ended


def end_with(model: RegisteredModel, versions: Sequence[ModelVersion | None], reason: str) -> None:
    """A version that moves ends the split it is in: what is compared must not change meanwhile. The caller holds
    the model's row."""
    split = model.split
    moved = {version.version for version in versions if version is not None}
    if split is not None and moved & {split.production_version, split.challenger_version}:
        _end(model, reason)


def _end(model: RegisteredModel, reason: str) -> TrafficSplit | None:
    split = model.split
    if split is None:
        return None
    was = audit.digest(split)
    TrafficSplit.objects.filter(pk=split.pk).update(ended_at=Now(), end_reason=reason)
    split.refresh_from_db()
    model.split = None
    model.save(update_fields=["split"])
    audit.record(
        model.tenant_id, "ended", "traffic", _label(model), before=was, after=split, split_id=str(split.pk)
    )
    log.info(
        "traffic_ended",
        tenant_id=model.tenant_id,
        model_name=model.name,
        split_id=str(split.pk),
        reason=reason,
    )
    return split


def _label(model: RegisteredModel) -> str:
    return f"{model.tenant_id}:{model.name}"


# Answering


@dataclass(frozen=True, slots=True)
class Routed:
    """A version that answers, and the split it answers in."""

    version: ModelVersion
    split: TrafficSplit | None = None
    variant: str = Variant.PRODUCTION

    def predict(self, rows: NDArray[np.float64], **options: bool) -> serving.Answer:
        """As `serving.predict`, counted; a shadow is asked afterwards."""
        if self.split is None:
            return serving.predict(self.version, rows, **options)
        began, failed = time.perf_counter(), True
        try:
            answer = serving.predict(self.version, rows, **options)
            failed = False
        finally:
            took = (time.perf_counter() - began) * 1000
            COUNTERS.add(self.split.pk, self.variant, rows=len(rows), took_ms=took, failed=failed)
        return answer

    def facts(self, answer: serving.Answer, rows: NDArray[np.float64]) -> dict[str, Any]:
        """What the answer says of the split; starts the shadow."""
        if self.split is None:
            return {}
        key = uuid.uuid4()
        said = {"split_id": self.split.pk, "variant": self.variant}
        if len(rows) == 1:
            value = answer.prediction.values[:1].tolist()[0]
            said["prediction_id"] = signing.dumps(
                [self.split.pk.hex, self.variant, key.hex, value], salt=SALT, compress=True
            )
        if self.split.mode == Mode.SHADOW and _share_of(self.split, key.hex) < self.split.share:
            SHADOWS.ask(self.split, key, rows)
        return {"traffic": said}


def route(version: ModelVersion, *, key: str) -> Routed:
    """Who answers this caller, always the same while the split lasts; `version` is the one in production."""
    split = version.model.split
    if split is None or split.challenger is None or split.production_version != version.version:
        return Routed(version)
    if split.mode == Mode.SHADOW or _share_of(split, key) >= split.share:
        return Routed(version, split)
    challenger = split.challenger
    challenger.model = version.model
    return Routed(challenger, split, Variant.CHALLENGER)


def _share_of(split: TrafficSplit, key: str) -> float:
    """Where a key falls in [0, 1); another place in each split, so that the same callers are not always the first."""
    digest = hashlib.sha256(f"{split.pk.hex}:{key}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


class Shadows:
    """One thread of this process asks challengers; who waits too long is dropped, and nobody's answer waits for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._free = threading.Semaphore(WAITING_AT_MOST)

    def ask(self, split: TrafficSplit, key: uuid.UUID, rows: NDArray[np.float64]) -> None:
        if not self._free.acquire(blocking=False):
            COUNTERS.drop(split.pk, Variant.CHALLENGER)
            return
        self._pool.submit(self._guarded, lambda: _ask_shadow(split, key, rows))

    def drain(self) -> None:
        """Wait for what was asked so far; the thread then holds no connection."""
        self._pool.submit(connections.close_all).result()  # that of the thread

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as fault:  # noqa: BLE001  whatever it is, the caller has an answer already
            log.warning("shadow_failed", reason=type(fault).__name__)
        finally:
            self._free.release()
            close_old_connections()


SHADOWS = Shadows()


def _ask_shadow(split: TrafficSplit, key: uuid.UUID, rows: NDArray[np.float64]) -> None:
    challenger = split.challenger
    if challenger is None:
        return
    challenger.model = split.model
    began, answer = time.perf_counter(), None
    try:
        answer = serving.predict(challenger, rows)
    except HubError as refusal:
        log.warning("shadow_refused", split_id=str(split.pk), code=refusal.code)
    took = (time.perf_counter() - began) * 1000
    COUNTERS.add(split.pk, Variant.CHALLENGER, rows=len(rows), took_ms=took, failed=answer is None)
    if answer is not None and len(rows) == 1:
        value = answer.prediction.values[:1].tolist()[0]
        Outcome.objects.create(split=split, variant=Variant.CHALLENGER, key=key, predicted=value)


# What came


def tell(*, tenant_id: str, model: RegisteredModel, outcomes: Sequence[tuple[str, Any]]) -> int:
    """Keep what became of predictions, by their ids; telling it again changes nothing. How many were new.

    Raises OutcomeRefused, naming the first id that is none of this model's, and then keeps nothing.
    """
    splits = {split.pk: split for split in model.splits.for_tenant(tenant_id)}
    fresh = 0
    with transaction.atomic():
        for index, (prediction_id, actual) in enumerate(outcomes):
            split_id, variant, key, predicted = _read(index, prediction_id)
            split = splits.get(split_id)
            if split is None:
                raise OutcomeRefused(index=index, reason="it is of another model")
            told = {"actual": actual, "error": error_of(index, predicted, actual), "told_at": Now()}
            _, is_new = Outcome.objects.get_or_create(
                split=split, variant=variant, key=key, defaults={"predicted": predicted, **told}
            )
            fresh += is_new
            if split.mode == Mode.SHADOW:
                waiting = Outcome.objects.filter(
                    split=split, key=key, variant=Variant.CHALLENGER, told_at=None
                )
                for beside in waiting.select_for_update():
                    told["error"] = error_of(index, beside.predicted, actual)
                    Outcome.objects.filter(pk=beside.pk).update(**told)
        if fresh:
            told_as = hashlib.sha256(json.dumps(list(outcomes)).encode()).hexdigest()
            audit.record(tenant_id, "told", "outcomes", _label(model), after=told_as, accepted=fresh)
    return fresh


def error_of(index: int, predicted: Any, actual: Any) -> float:
    """|actual - predicted| of numbers; of classes 0 where it is the one, else 1."""
    numbers = [
        isinstance(value, int | float) and not isinstance(value, bool) for value in (predicted, actual)
    ]
    if numbers[0] != numbers[1]:
        raise OutcomeRefused(
            index=index, reason="it must be a number where a number was predicted, else a class"
        )
    return abs(actual - predicted) if numbers[0] else float(actual != predicted)


def _read(index: int, prediction_id: str) -> tuple[uuid.UUID, str, uuid.UUID, Any]:
    try:
        split, variant, key, value = signing.loads(prediction_id, salt=SALT, max_age=OUTCOME_DAYS * 86_400)
    except signing.SignatureExpired:
        raise OutcomeRefused(index=index, reason=f"it is older than {OUTCOME_DAYS} days") from None
    except signing.BadSignature:
        raise OutcomeRefused(
            index=index, reason="its prediction_id was not given by a prediction here"
        ) from None
    return uuid.UUID(split), variant, uuid.UUID(key), value


def report(model: RegisteredModel) -> dict[str, Any]:
    """The split of a model, or the last one there was, with what was counted and told. Raises NoTraffic."""
    split = model.splits.order_by("-started_at", "-id").first()
    if split is None:
        raise NoTraffic(model=str(model))
    COUNTERS.flush()
    counts = {count.variant: count for count in split.counts.all()}
    told = split.outcomes.filter(error__isnull=False)
    facts = told.values("variant").annotate(
        n=Count("pk"), mean=Avg("error"), variance=Variance("error", sample=True)
    )
    errors = {
        row["variant"]: compare.Errors(row["n"], row["mean"], row["variance"]) for row in facts.order_by()
    }
    of = [errors.get(variant, compare.Errors(0, None, None)) for variant in Variant.values]
    found = compare.paired(_pairs(split)) if split.mode == Mode.SHADOW else compare.welch(*of)
    versions = (split.production_version, split.challenger_version)
    variants = {
        variant: {
            "version": version,
            **_counted(counts.get(variant)),
            "outcomes": each.count,
            "mean_error": each.mean,
        }
        for variant, version, each in zip(Variant.values, versions, of, strict=True)
    }
    interval = found and {
        "difference": found.difference,
        "lower": found.lower,
        "upper": found.upper,
        "method": found.method,
    }
    return {
        "split_id": split.pk,
        "model": _label(model),
        "mode": split.mode,
        "share": split.share,
        "is_active": split.ended_at is None,
        "started_at": split.started_at,
        "started_by": split.started_by,
        "ended_at": split.ended_at,
        "end_reason": split.end_reason,
        "variants": variants,
        "comparison": {"level": compare.LEVEL, "interval": interval, "said": compare.in_words(found)},
    }


def _pairs(split: TrafficSplit) -> compare.Errors:
    """Of rows whose outcome was told: the error of the shadow less that of the answer."""
    told = Outcome.objects.filter(split=split, error__isnull=False)
    mine = dict(told.filter(variant=Variant.PRODUCTION).values_list("key", "error"))
    shadows = told.filter(variant=Variant.CHALLENGER).annotate(off=F("error")).values_list("key", "off")
    differences = [off - mine[key] for key, off in shadows.iterator() if key in mine]
    if len(differences) < 2:
        return compare.Errors(len(differences), None, None)
    return compare.Errors(len(differences), float(np.mean(differences)), float(np.var(differences, ddof=1)))


def _counted(count: Any) -> dict[str, Any]:
    if count is None:
        return {"requests": 0, "rows": 0, "failures": 0, "dropped": 0, "latency_ms": None}
    latency = {
        "mean": count.latency_ms / count.requests if count.requests else None,
        "p50_at_most": compare.quantile_ms(count.buckets, 0.5),
        "p95_at_most": compare.quantile_ms(count.buckets, 0.95),
    }
    return {
        "requests": count.requests,
        "rows": count.rows,
        "failures": count.failures,
        "dropped": count.dropped,
        "latency_ms": latency,
    }
