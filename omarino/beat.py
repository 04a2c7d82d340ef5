"""Celery's beat, for a machine whose clock may be set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.beat import PersistentScheduler
from celery.utils.time import maybe_make_aware


class SteadyScheduler(PersistentScheduler):
    """Celery's own waits until the clock has caught up with each entry's last run: set back by an hour, nothing would
    be sent for an hour, and no work of a dead worker taken up."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        for entry in self.schedule.values():
            now = maybe_make_aware(entry.default_now())
            last = entry.last_run_at
            if last is not None and maybe_make_aware(last) > now + timedelta(seconds=1):
                entry.last_run_at = now
                self._heap = None  # made anew from the entries
        delay: float = super().tick(*args, **kwargs)
        return delay
