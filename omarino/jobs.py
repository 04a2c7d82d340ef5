"""A long work is its row: claimed once, leased while somebody works on it, taken up again when that worker died.

The queue only wakes a worker. A message may be lost, doubled or late: what holds is the row, by the database's clock.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import structlog
from django.apps import apps
from django.conf import settings
from django.db import Error as DatabaseFault
from django.db import connection, models, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Now
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from omarino import audit, metrics
from omarino.errors import HubError
from omarino.tenancy import TenantOwned, TenantQuerySet

LEASE = timedelta(seconds=settings.JOB_LEASE_SECONDS)  # of a worker that fell silent, the work is another's
WAKE_AGAIN = LEASE  # a message not answered for so long is taken for lost
MOST_ATTEMPTS = 3
IMPATIENT = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry_on_timeout": False}
OUR_FAULT = (
    "Something went wrong on our side, and was logged. Try it again, and tell us if that does not help."
)
log = structlog.get_logger(__name__)
JobT = TypeVar("JobT", bound="Job", covariant=True)


class JobStatus(models.TextChoices):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobTaken(Exception):
    """The row is no longer this worker's: cancelled, or given to another after the lease ran out."""


class JobNotCancellable(HubError):
    status = 409
    code = "job_not_cancellable"
    title = "Conflict"
    detail = "It is {state} already, so there is nothing to cancel."


class JobNotRetryable(HubError):
    status = 409
    code = "job_not_retryable"
    title = "Conflict"
    detail = "It is {state}. Only what failed or was cancelled can be tried again."


class JobQuerySet(TenantQuerySet[JobT]):
    def claim(self, pk: Any) -> JobT | None:
        """The row, ours from now on; None when it is another's, at its end, or must wait for its tenant's turn.

        A tenant has one work of a kind in hand at a time, so that nobody's hundred exports hold up the others.
        """
        token = uuid.uuid4()
        now = Now()
        free = Q(status=JobStatus.PENDING) | Q(status=JobStatus.PROCESSING, lease_until__lt=now)
        with transaction.atomic():
            self._queue_for_turn(pk)
            self.filter(free, ~self._in_hand_of_tenant(), pk=pk, attempts__lt=MOST_ATTEMPTS).update(
                status=JobStatus.PROCESSING,
                attempts=F("attempts") + 1,
                token=token,
                lease_until=now + LEASE,
                started_at=Coalesce(F("started_at"), now),
                progress=0.0,
                error="",
            )
        job = self.filter(pk=pk, token=token).first()
        if job is not None:
            job.stand_for_its_request()
            job.tell("job_started", attempt=job.attempts)
        return job

    def _queue_for_turn(self, pk: Any) -> None:
        """Until the transaction ends no other work of this kind and tenant is claimed: two that begin together
        would each find nobody else in hand."""
        tenant_id = self.filter(pk=pk).values_list("tenant_id", flat=True).first()
        turn = hashlib.sha256(f"{self.model._meta.label}:{tenant_id}".encode()).digest()[:8]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(turn, signed=True)])

    def _in_hand_of_tenant(self) -> Exists:
        """Whether another work of the same tenant is leased."""
        leased = self.model._default_manager.filter(
            tenant_id=OuterRef("tenant_id"), status=JobStatus.PROCESSING, lease_until__gte=Now()
        )
        return Exists(leased.exclude(pk=OuterRef("pk")))

    def _digest_of(self, pk: Any) -> str:
        """As it is until this transaction changes it. Raises DoesNotExist."""
        return audit.digest(self.select_for_update(of=("self",)).get(pk=pk))

    @transaction.atomic
    def cancel(self, pk: Any) -> JobT:
        """Raises JobNotCancellable, and DoesNotExist."""
        was = self._digest_of(pk)
        changed = self.filter(pk=pk, status__in=(JobStatus.PENDING, JobStatus.PROCESSING)).update(
            status=JobStatus.CANCELLED, completed_at=Now(), token=None, lease_until=None
        )
        job = self.get(pk=pk)
        if job.status != JobStatus.CANCELLED:
            raise JobNotCancellable(state=job.status)
        if changed:
            audit.record(job.tenant_id, "cancelled", str(job._meta.verbose_name), pk, before=was, after=job)
            job._over(JobStatus.CANCELLED)
            job._wake_next()
        return job

    @transaction.atomic
    def retry(self, pk: Any) -> JobT:
        """Put a failed or cancelled work back in the queue. Raises JobNotRetryable, and DoesNotExist."""
        was = self._digest_of(pk)
        changed = self.filter(pk=pk, status__in=(JobStatus.FAILED, JobStatus.CANCELLED)).update(
            status=JobStatus.PENDING,
            attempts=0,
            progress=0.0,
            error="",
            started_at=None,
            completed_at=None,
            token=None,
            lease_until=None,
            request_id=request_id_now(),
        )
        job = self.get(pk=pk)
        if not changed:
            raise JobNotRetryable(state=job.status)
        audit.record(job.tenant_id, "retried", str(job._meta.verbose_name), pk, before=was, after=job)
        job.enqueue()
        return job

    def sweep(self) -> int:
        """Fail what killed its worker too often; wake somebody for what waits or was left. How many were woken.

        Of a tenant only the oldest, and only when it has nothing in hand: the rest would be woken to wait again.
        """
        self._fit_to_clock()
        left = Q(status=JobStatus.PROCESSING, lease_until__lt=Now())
        given_up = self.filter(left, attempts__gte=MOST_ATTEMPTS).update(
            status=JobStatus.FAILED,
            completed_at=Now(),
            token=None,
            lease_until=None,
            error=f"Its worker died {MOST_ATTEMPTS} times while at it. Its memory may not suffice: ask for less at a time.",
        )
        count_ends(self.model, JobStatus.FAILED, given_up)
        waits = Q(status=JobStatus.PENDING, enqueued_at__lt=Now() - WAKE_AGAIN)
        lost = self.filter(left | waits, ~self._in_hand_of_tenant())
        turns = list(lost.order_by("tenant_id", "requested_at").distinct("tenant_id"))
        for job in turns:
            job.enqueue()
        return len(turns)

    def _fit_to_clock(self) -> None:
        """No lease ends later than one from now, and nobody was woken in the future: where it seems so, the database's
        clock was set back. Whoever lives keeps the lease that is given anew; for the dead nobody waits longer."""
        leased = self.filter(status=JobStatus.PROCESSING, lease_until__gt=Now() + 2 * LEASE)
        leased.update(lease_until=Now() + LEASE)
        self.filter(status=JobStatus.PENDING, enqueued_at__gt=Now() + LEASE).update(enqueued_at=Now())


def request_id_now() -> str:
    """Of the request that is being answered, or of the one that the work in hand was asked for by."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


class Job(TenantOwned):
    """The row of a long work. A subclass names the task that does it, in `task`."""

    task: ClassVar[str]
    trains_models: ClassVar[bool] = False

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.PENDING, editable=False)
    progress = models.FloatField(default=0.0, editable=False)  # share done, 0..1
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    error = models.TextField(blank=True, editable=False)  # a sentence for the person who asked
    requested_by = models.CharField(max_length=255, editable=False)  # the token's subject, or a command
    requested_at = models.DateTimeField(db_default=Now(), editable=False)
    request_id = models.CharField(
        max_length=128, blank=True, default=request_id_now, db_default="", editable=False
    )
    enqueued_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    completed_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    token = models.UUIDField(null=True, editable=False)  # fences off a worker that lost the row

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=JobStatus.values), name="%(app_label)s_%(class)s_status_known"
            ),
            models.CheckConstraint(
                condition=Q(progress__range=(0, 1)), name="%(app_label)s_%(class)s_progress_share"
            ),
            models.CheckConstraint(
                condition=Q(status=JobStatus.PROCESSING, token__isnull=False, lease_until__isnull=False)
                | ~Q(status=JobStatus.PROCESSING) & Q(token__isnull=True, lease_until__isnull=True),
                name="%(app_label)s_%(class)s_leased_in_hand",
            ),
        ]
        indexes = [
            models.Index(  # the sweep, and whose turn it is
                fields=["tenant_id", "requested_at"],
                condition=Q(status__in=(JobStatus.PENDING, JobStatus.PROCESSING)),
                name="%(app_label)s_%(class)s_open",
            ),
        ]

    @property
    def is_over(self) -> bool:
        return self.status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)

    def enqueue(self) -> None:
        """Wake a worker once this transaction is committed. A broker that is away only delays: the sweep asks again."""
        type(self)._default_manager.filter(pk=self.pk).update(enqueued_at=Now())
        transaction.on_commit(partial(contextvars.copy_context().run, self._wake))

    def _wake(self) -> None:
        # Here, as it loads this module; and not `current_app`, which is ours in the main thread only.
        from omarino.celery import app

        try:
            # Once, and without patience: the sweep asks again, and a person may be waiting for an answer.
            with app.connection_for_write(transport_options=IMPATIENT) as broker:
                app.send_task(self.task, args=[str(self.pk)], connection=broker, retry=False)
        except (BrokerError, RedisError, OSError) as fault:
            log.warning("job_not_queued", task=self.task, job_id=str(self.pk), reason=type(fault).__name__)

    @contextlib.contextmanager
    def in_hand(self) -> Iterator[Self]:
        """Keeps the lease while the block runs, on a connection of its own: a long computation cannot."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep_lease, args=(done,), daemon=True)
        keeper.start()
        try:
            yield self
        finally:
            done.set()
            keeper.join()

    def _keep_lease(self, done: threading.Event) -> None:
        try:
            while not done.wait(LEASE.total_seconds() / 4):
                try:
                    self._write(lease_until=Now() + LEASE)
                except JobTaken:
                    return  # the work finds out when it reports
                except DatabaseFault as fault:  # it may be back before the lease ends
                    log.warning("lease_not_kept", job_id=str(self.pk), reason=type(fault).__name__)
                    connection.close()
        finally:
            connection.close()

    def stand_for_its_request(self) -> None:
        """From now on lines and records carry the id of the request that asked for it, whoever woke this worker."""
        if self.request_id:
            structlog.contextvars.bind_contextvars(request_id=self.request_id)

    def lock(self) -> None:
        """Until the transaction ends the row stays ours: for a result that is made visible beside it.

        Raises JobTaken.
        """
        rows = type(self)._default_manager.select_for_update()
        mine = rows.filter(pk=self.pk, status=JobStatus.PROCESSING, token=self.token)
        if mine.values_list("pk", flat=True).first() is None:
            raise JobTaken(str(self.pk))

    def report(self, progress: float) -> None:
        """Raises JobTaken: stop, and leave nothing behind."""
        self._write(progress=min(max(progress, 0.0), 1.0), lease_until=Now() + LEASE)

    def complete(self, **results: Any) -> None:
        """Write the results, unless the row has become another's: then JobTaken, and nothing is written."""
        self._end(JobStatus.COMPLETED, progress=1.0, **results)

    def fail(self, error: str) -> None:
        """`error`: a sentence for the person who asked. Raises JobTaken."""
        self._end(JobStatus.FAILED, error=error)

    def release(self, error: str) -> None:
        """Give it back after a passing fault; the sweep wakes the next attempt. After the last one it has failed."""
        over = Q(attempts__gte=MOST_ATTEMPTS)
        self._write(
            status=Case(When(over, then=Value(JobStatus.FAILED)), default=Value(JobStatus.PENDING)),
            completed_at=Case(When(over, then=Now())),
            error=error,
            token=None,
            lease_until=None,
        )
        if self.attempts >= MOST_ATTEMPTS:
            self._over(JobStatus.FAILED, error)
        else:
            self.tell("job_released", attempt=self.attempts, error=error)
        self._wake_next()

    def _end(self, status: JobStatus, **columns: Any) -> None:
        self._write(status=status, completed_at=Now(), token=None, lease_until=None, **columns)
        self._over(status, columns.get("error", ""))
        self._wake_next()

    def _over(self, status: JobStatus, error: str = "") -> None:
        """Count the end once it is committed, and say so."""
        count_ends(type(self), status, 1)
        self.tell(f"job_{status}", **({"error": error} if error else {}))

    def tell(self, event: str, **facts: Any) -> None:
        """A line in the log, once what it tells is committed."""
        kind = self._meta.label_lower
        transaction.on_commit(
            lambda: log.info(event, tenant_id=self.tenant_id, kind=kind, job_id=str(self.pk), **facts)
        )

    def _wake_next(self) -> None:
        """The tenant's next work of this kind waited for this one. One given back waits for the sweep, as what
        kept it from being done may last."""
        waiting = type(self)._default_manager.filter(tenant_id=self.tenant_id, status=JobStatus.PENDING)
        if following := waiting.exclude(pk=self.pk).order_by("requested_at").first():
            # with neither the request id nor the trace of this one: it is somebody else's
            contextvars.Context().run(following.enqueue)

    def _write(self, **columns: Any) -> None:
        mine = type(self)._default_manager.filter(pk=self.pk, status=JobStatus.PROCESSING, token=self.token)
        if mine.update(**columns) != 1:
            raise JobTaken(str(self.pk))


def count_ends(kind: type[Job], status: str, number: int) -> None:
    """In the metrics, once it is committed."""
    if not number:
        return
    counters = [metrics.JOBS_ENDED, *([metrics.TRAINING_JOBS] if kind.trains_models else [])]
    for counter in counters:
        transaction.on_commit(partial(counter.labels(kind._meta.label_lower, status).inc, number))


def kinds() -> list[type[Job]]:
    """Every kind of long work that the apps declare."""
    return [model for model in apps.get_models() if issubclass(model, Job)]
