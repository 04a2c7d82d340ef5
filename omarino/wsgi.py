"""What the web server calls."""

import logging
import os

from django.core.wsgi import get_wsgi_application

from omarino import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
# Processes share the cores already; the threads of numpy and LightGBM within each would fight for them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
tracing.start()  # each worker for itself, before the middleware is made
logging.captureWarnings(True)  # as lines like all others
application = get_wsgi_application()

import omarino.urls  # noqa: E402, F401  every view now, and not within somebody's first request
