"""Moves the wall clock of every process of a product under test, which imports this as its `sitecustomize`.

HUB_CLOCK names a file with the seconds to move by; it may change at any time. Clocks that only run are left alone, as
they are when somebody sets the time of a machine.
"""

import os
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

STEP_S = 0.05
_sleep = time.sleep
_journey: list[Any] = []  # the seconds, and what moves the clock by them; a forked process goes on with it


def _follow(path: Path) -> None:
    while True:
        try:
            wanted = float(path.read_text() or 0)
        except FileNotFoundError:
            wanted = 0.0
        if wanted != (_journey[0] if _journey else 0.0):
            _move(wanted)
        _sleep(STEP_S)


def _move(seconds: float) -> None:
    import time_machine

    if _journey:
        _journey[1].stop()
        _journey.clear()
    if seconds:
        travel = time_machine.travel(datetime.now().astimezone() + timedelta(seconds=seconds), tick=True)
        travel.start()
        _journey.extend((seconds, travel))


def _start() -> None:
    threading.Thread(target=_follow, args=(Path(os.environ["HUB_CLOCK"]),), daemon=True, name="clock").start()


if os.environ.get("HUB_CLOCK"):
    _start()
    os.register_at_fork(after_in_child=_start)  # threads stay behind
