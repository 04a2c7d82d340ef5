"""These run where PyTorch is installed, in `.venv-torch`; `make test` does so after all others."""

from importlib.util import find_spec

from tests.registry.conftest import folder as folder

collect_ignore_glob = [] if find_spec("torch") else ["*.py"]
