"""The Celery app: `celery -A omarino.celery worker`."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
# Processes share the cores already; the threads of numpy and LightGBM within each would fight for them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
app = Celery("omarino")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: object) -> None:
    """A receiver of this signal keeps Celery from replacing the loggers of settings.LOGGING."""
