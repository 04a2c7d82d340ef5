"""What the web server calls."""

import gc
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from omarino import tracing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omarino.settings")
# Processes share the cores already; the threads of numpy and LightGBM within each would fight for them.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
tracing.start()  # each worker for itself, before the middleware is made
logging.captureWarnings(True)  # as lines like all others
handler = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A finished answer in one piece: the server then sends it without coming back to Python for the rest."""
    response: Any = handler(environ, start_response)
    if response.streaming:
        return response  # type: ignore[no-any-return]
    try:
        return [response.content]
    finally:
        response.close()


import omarino.urls  # noqa: E402, F401  every view now, and not within somebody's first request

# What was made until here lives as long as the process: looking through it for garbage takes a tenth of a second, in
# the middle of somebody's request. And a series of a thousand readings alone is a thousand objects: looking for garbage
# at every 700 new ones, as Python does, adds two thirds to the time of parsing them.
gc.collect()
gc.freeze()
gc.set_threshold(10_000)
