"""Holds the lock files to what they were made from, without asking a package index.

`python requirements/locks.py stamp` writes into each lock what it was made from and what it holds; `make lock` runs
it. `python requirements/locks.py` fails when one of the two has changed since.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
EXTRAS = {
    "production.txt": [],
    "otel.txt": ["otel"],
    "run.txt": ["embedded"],
    "dev.txt": ["embedded", "xgboost", "onnx", "keras", "otel", "test", "dev"],
}
STAMP = "# Made by `make lock`; stamp "


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _source(name: str) -> str:
    """What a lock is made from: its part of pyproject.toml, or its own list."""
    if name not in EXTRAS:
        return (FOLDER / name).with_suffix(".in").read_text()
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    wanted = [project["optional-dependencies"][extra] for extra in EXTRAS[name]]
    return json.dumps([project["requires-python"], project["dependencies"], *wanted])


def _stamped(lock: Path) -> str:
    body = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.startswith(STAMP))
    return f"{STAMP}{_digest(_source(lock.name))} {_digest(body)}\n{body}"


def main(verb: str) -> int:
    stale = [lock for lock in sorted(FOLDER.glob("*.txt")) if lock.read_text() != _stamped(lock)]
    for lock in stale:
        if verb == "stamp":
            lock.write_text(_stamped(lock))
        else:
            sys.stderr.write(f"requirements/{lock.name} is not what `make lock` makes. Run it.\n")
    return 1 if stale and verb != "stamp" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else "check"))
