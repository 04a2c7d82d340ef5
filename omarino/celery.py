"""The Celery app: `celery -A omarino.celery worker`."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
app = Celery("omarino")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: object) -> None:
    """A receiver of this signal keeps Celery from replacing the loggers of settings.LOGGING."""
