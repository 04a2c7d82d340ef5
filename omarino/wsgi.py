"""What the web server calls."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
# Processes share the cores already; the threads of numpy and LightGBM within each would fight for them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
application = get_wsgi_application()

import omarino.urls  # noqa: E402, F401  every view now, and not within somebody's first request
