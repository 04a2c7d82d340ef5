"""Functions that make valid rows; a test names only what matters to it."""

from __future__ import annotations
