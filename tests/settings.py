"""The product's settings on real servers started for this run; given ones are used instead.

The servers must listen before the settings are read, hence here and not in a fixture.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_folder = Path(tempfile.mkdtemp(prefix="hub-tests-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
# Each process of the run has servers and folders of its own; pytest-xdist hands its environment down to the others.
os.environ["DATA_DIR"] = str(_folder)
os.environ["STATIC_ROOT"] = str(_folder / "static")
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
os.environ.setdefault("RATE_LIMIT_LIGHT", "1000000")  # counted, and never met but where a test says so
os.environ.setdefault("RATE_LIMIT_HEAVY", "1000000")
Path(os.environ["STATIC_ROOT"]).mkdir(
    parents=True, exist_ok=True
)  # WhiteNoise looks when wsgi.py is imported

from omarino import embedded  # noqa: E402
from tests import postgresql  # noqa: E402

_services = embedded.running_services(Path(os.environ["DATA_DIR"]))
if not os.environ.get("DATABASE_URL"):
    _older = os.environ.get("HUB_TEST_POSTGRESQL")
    _postgres = (
        postgresql.start(_older, _folder, _services)
        if _older
        else embedded.start_postgres(_folder, _services)
    )
    atexit.register(embedded.stop, _postgres)
    # Only the superuser may make the test database; the tests themselves run in it.
    embedded.allow_making_databases(_services)
if not os.environ.get("REDIS_HOST"):
    _valkey = embedded.start_valkey(_folder, _services)
    atexit.register(embedded.stop, _valkey)

from omarino.settings import *  # noqa: E402, F403
