"""What runs in the process that is thrown away: limit yourself, open the artifact, try it, say what it is.

Started by `registry.quarantine`; the artifact is standard input, the answer one line of JSON on standard output.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, Never

from omarino.confinement import close_files, limit_yourself
from omarino.errors import Outage

MANY_BYTES = 268_435_456  # of memory that predicting as many rows as are asked at once may take
FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, Outage)
SIZES = os.open("/proc/self/statm", os.O_RDONLY)  # later no file can be opened


def portrait_of(content: bytes, declared: dict[str, Any] | None = None) -> dict[str, Any]:
    """Find the format, load the model, try it on rows that a model should survive. Raises ArtifactRefused."""
    import numpy as np

    from registry.formats import FORMATS, open_here, sniff
    from registry.formats.base import NOTHING, ArtifactRefused, Declared, Portrait

    name = sniff(content)
    if not FORMATS[name].is_served:
        return Portrait(format=name, extra=FORMATS[name].extra).as_dict()
    FORMATS[name].prepare()  # imported, so that what it grows below is the model alone
    before = _resident_bytes()
    if FORMATS[name].is_confined:
        close_files()  # an exception of its code reaches whoever sent it, and should have read nothing
        before = 0  # such a model costs a process wherever it is loaded
    predictor = open_here(name, content, Declared.from_dict(declared) if declared else NOTHING)
    count = predictor.feature_count
    ordinary = np.vstack([np.zeros(count), np.ones(count), np.full(count, -1e6), np.full(count, 1e6)])
    try:
        tried = predictor.predict(ordinary)
        if predictor.additive:
            predictor.contributions(ordinary[:2])
    except FAULTS as fault:
        raise ArtifactRefused(
            reason=f"it loads but cannot predict ({type(fault).__name__}: {str(fault)[:200]})."
        ) from fault
    if len(tried.values) != len(ordinary):
        raise ArtifactRefused(reason="it does not answer one value a row.")
    _try_many(predictor)
    return Portrait(
        format=name,
        task=predictor.task,
        feature_names=list(predictor.feature_names),
        feature_count=count,
        class_labels=list(predictor.class_labels),
        takes_missing=_takes_missing(predictor, count),
        additive=predictor.additive,
        memory_bytes=max(_resident_bytes() - before, len(content)),
    ).as_dict()


def _try_many(predictor: Any) -> None:
    """Predict as many rows as are asked at once. What a model makes of each, or of each with each, passes with four,
    and would end the process that serves it."""
    import numpy as np

    from registry.formats.base import ArtifactRefused, rows_at_once

    rows = np.zeros((rows_at_once(predictor.feature_count), predictor.feature_count))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space_bytes() + MANY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most if limits[1] < 0 else min(most, limits[1]), limits[1]))
    try:
        predictor.predict(rows)
    except (ValueError, RuntimeError, MemoryError, Outage) as fault:
        raise ArtifactRefused(
            reason=f"it cannot predict {len(rows):,} rows at once in {MANY_BYTES // 1_048_576} MiB of memory."
        ) from fault
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _takes_missing(predictor: Any, count: int) -> bool:
    import numpy as np

    try:
        values = predictor.predict(np.full((1, count), np.nan)).values
    except FAULTS:
        return False
    return bool(values.dtype.kind != "f" or np.isfinite(values).all())


def _resident_bytes() -> int:
    return int(os.pread(SIZES, 256, 0).split()[1]) * resource.getpagesize()


def _address_space_bytes() -> int:
    return int(os.pread(SIZES, 256, 0).split()[0]) * resource.getpagesize()


def main(seconds: str, memory_mb: str, declared: str = "null") -> None:
    content = sys.stdin.buffer.read()
    answer_to = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    held = limit_yourself(seconds=int(seconds), memory_mb=int(memory_mb))

    def give(answer: dict[str, Any]) -> Never:
        os.write(answer_to, json.dumps({**answer, "held": held}, default=str).encode())
        os._exit(0)  # no library's farewell

    def refuse(reason: str) -> Never:
        give({"code": "artifact_refused", "reason": reason})

    # What no reader foresaw is a refusal as well: this process has nothing else to say.
    sys.excepthook = lambda kind, fault, _: refuse(
        f"opening it failed ({kind.__name__}: {str(fault)[:200]})."
    )
    from registry.formats.base import ArtifactRefused

    try:
        give({"portrait": portrait_of(content, json.loads(declared))})
    except ArtifactRefused as refusal:
        give({"code": refusal.code, "reason": refusal.facts["reason"]})
    except MemoryError:
        refuse("opening it needs too much memory.")
