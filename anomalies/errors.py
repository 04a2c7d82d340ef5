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
