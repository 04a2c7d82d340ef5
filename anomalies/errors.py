"""What can be wrong with a question about anomalies."""

from __future__ import annotations

from omarino.errors import HubError


class TooFewReadings(HubError):
    status = 422
    code = "too_few_readings"
    title = "Too few readings"
    detail = (
        "The asset {asset_id!r} has {have} readings in {start} .. {end}; two are needed at least. "
        "Send time_series, ask for a longer lookback_hours, or load readings first (POST /ai/features/readings)."
    )


class TooManyScores(HubError):
    status = 413
    code = "too_many_scores"
    title = "Content too large"
    detail = (
        "The scores of {have} points are more than one answer holds, which is {limit}. Ask for fewer lookback_hours, "
        "or without include_scores."
    )


class NotFlagged(HubError):
    status = 422
    code = "not_flagged"
    title = "Not flagged"
    detail = "This detection flagged nothing at {timestamp}. Name the timestamp of one of its anomalies."


class TooManyWatches(HubError):
    status = 409
    code = "too_many_watches"
    title = "Too many watches"
    detail = "There are {most} watches already, as many as a tenant may have. Remove one first."


class NothingToWatch(HubError):
    status = 422
    code = "nothing_to_watch"
    title = "Nothing to watch"
    detail = (
        "The asset {asset_id!r} sends other metrics only, and a watch judges the one named value. Look at them together: "
        "GET /ml/anomalies/detect/ and the device."
    )


class TooFewMetrics(HubError):
    status = 400
    code = "too_few_metrics"
    title = "Too few metrics"
    detail = "The device {device!r} sent {have} metric; at least two are needed. For one metric use POST /ai/anomaly."


class TooFewSamples(HubError):
    status = 400
    code = "too_few_samples"
    title = "Too few samples"
    detail = "Not enough data. Need {need}+ samples, got {have}"


class NoDetector(HubError):
    status = 404
    code = "no_detector"
    title = "No detector"
    detail = "This device has no detector in production. Train one: POST /ml/anomalies/train/ and the device."


class DeviceUnknown(HubError):
    status = 404
    code = "device_unknown"
    title = "Not found"
    detail = (
        "This tenant has no such device. A device is made by its first reading (POST /ai/features/readings)."
    )


class DetectorUnusable(HubError):
    status = 409
    code = "detector_unusable"
    title = "Detector unusable"
    detail = "{model_id} cannot be used on this device: {reason}. Train anew: POST /ml/anomalies/train/..."
