from __future__ import annotations

from tests.registry.conftest import folder as folder
