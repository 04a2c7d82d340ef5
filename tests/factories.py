"""Functions that make valid rows; a test names only what matters to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from forecasting.models import Forecast
from omarino.authentication import Principal


def make_forecast_row(owner: Principal, *, p50: list[float] | None = None, **fields: Any) -> Forecast:
    """A kept forecast of three steps, one unit wide on each side."""
    medians = p50 or [10.0, 11.0, 12.0]
    row = Forecast(
        **{
            "tenant_id": owner.tenant_id,
            "asset_id": "main-meter",
            "forecast_type": "load",
            "horizon_hours": 3,
            "interval_minutes": 60,
            "model_name": "auto",
            "model_version": "v1.0.0",
            "algorithm": "linear_v1",
            "as_of": datetime(2025, 1, 1, tzinfo=UTC),
            "history_source": "body",
            "inputs_digest": "0" * 64,
            "first_target_at": datetime(2025, 1, 1, tzinfo=UTC),
            "p10": [value - 1 for value in medians],
            "p50": medians,
            "p90": [value + 1 for value in medians],
            "confidence": [0.8] * len(medians),
            "features_used": ["lag_24h"],
            "training_samples": 840,
            **fields,
        }
    )
    row.save(force_insert=True)
    return row
