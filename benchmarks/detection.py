"""How detections are scored: VUS-PR, events found, points accused rightly and wrongly."""

from __future__ import annotations

import numpy as np

BUFFER_HOURS = 4
LEVELS = 250


def vus_pr(labels: np.ndarray, score: np.ndarray, longest: int) -> float:
    """Volume under the surface of precision and recall (Paparrizos et al., VLDB 15:2774, 2022).

    The area under precision and recall, with labels that fade out over a buffer around each event and a
    recall that also counts events found at all, averaged over buffers of 0..`longest` points in all.
    """
    return float(np.mean([_range_auc_pr(labels, score, buffer) for buffer in range(0, longest + 1, 2)]))


def _range_auc_pr(labels: np.ndarray, score: np.ndarray, buffer: int) -> float:
    begins, ends = segments(labels)
    soft = labels.astype(float)
    for begin, end in zip(begins, ends, strict=True):
        for k in range(1, buffer // 2 + 1):
            fade = np.sqrt(1 - k / (buffer + 1))
            if begin - k >= 0:
                soft[begin - k] += fade
            if end - 1 + k < soft.size:
                soft[end - 1 + k] += fade
    soft = np.minimum(soft, 1.0)
    begins, ends = segments(soft > 0)
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(soft[order])
    best = np.sort([score[b:e].max() for b, e in zip(begins, ends, strict=True)])
    positives = (labels.sum() + soft.sum()) / 2
    recall, precision = [0.0], [1.0]
    ordered = score[order]
    for level in np.linspace(0, score.size - 1, LEVELS).astype(int):
        last = int(np.searchsorted(-ordered, -ordered[level], side="right"))  # ties are taken together
        found = (best >= ordered[level]).mean()
        recall.append(min(hits[last - 1] / positives, 1.0) * found)
        precision.append(hits[last - 1] / last)
    rise = np.maximum(np.diff(recall), 0.0)
    return float(rise @ np.array(precision[1:]))


def segments(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return edges[::2], edges[1::2]
