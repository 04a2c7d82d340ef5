"""The detectors by name."""

from __future__ import annotations

from anomalies.detectors.base import Detector
from anomalies.detectors.iqr import InterquartileRange
from anomalies.detectors.isolation_forest import IsolationForest
from anomalies.detectors.local_outlier_factor import LocalOutlierFactor
from anomalies.detectors.prophet_decomposition import ProphetDecomposition
from anomalies.detectors.z_score import ZScore

DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        ZScore(),
        InterquartileRange(),
        IsolationForest(),
        LocalOutlierFactor(),
        ProphetDecomposition(),
    )
}
