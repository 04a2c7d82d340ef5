"""What Celery runs of the kernel."""

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from celery import shared_task
from django.core.management import call_command
from django.utils import timezone

from omarino import audit_chain, jobs
from omarino.signing_in import forget_ended_sessions

log = structlog.get_logger(__name__)


@shared_task(name="omarino.sweep_jobs")
def sweep_jobs() -> None:
    """Take up again the long works whose worker died or whose message was lost."""
    for kind in jobs.kinds():
        kind._default_manager.get_queryset().sweep()  # type: ignore[attr-defined]


@shared_task(name="omarino.anchor_audit")
def anchor_audit() -> None:
    """Keep outside the database where each chain of the audit ends: in the storage, and in the log."""
    try:
        moved = audit_chain.anchor(timezone.now())
    except (
        BotoCoreError,
        ClientError,
        OSError,
    ) as fault:  # the next time keeps what moved since the last anchor
        log.error("audit_not_anchored", reason=type(fault).__name__)
        return
    for tenant_id, head in moved.items():
        log.info("audit_anchored", tenant_id=tenant_id, links=head.number, digest=head.digest)


@shared_task(name="omarino.forget_sessions")
def forget_sessions() -> None:
    """Remove sessions that are over: sign-ins that nobody finished among them, which anybody can begin."""
    call_command("clearsessions")
    forget_ended_sessions()
