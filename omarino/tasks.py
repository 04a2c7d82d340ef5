"""What Celery runs of the kernel."""

from celery import shared_task

from omarino import jobs


@shared_task(name="omarino.sweep_jobs")
def sweep_jobs() -> None:
    """Take up again the long works whose worker died or whose message was lost."""
    for kind in jobs.kinds():
        kind._default_manager.get_queryset().sweep()  # type: ignore[attr-defined]
