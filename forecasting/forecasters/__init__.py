"""The built-in forecasters, by name."""

from __future__ import annotations

from forecasting.errors import UnknownForecaster
from forecasting.forecasters.base import ExplainedForecaster
from forecasting.forecasters.ensemble import Ensemble
from forecasting.forecasters.gradient_boosting import GradientBoosting
from forecasting.forecasters.linear import Linear
from forecasting.forecasters.prophet_like import ProphetLike
from forecasting.forecasters.seasonal_naive import SeasonalNaive

FORECASTERS: dict[str, ExplainedForecaster] = {
    forecaster.name: forecaster
    for forecaster in (Ensemble(), GradientBoosting(), Linear(), ProphetLike(), SeasonalNaive())
}


def forecaster_named(name: str) -> ExplainedForecaster:
    """The forecaster of this name, with or without its version: `linear` is `linear_v1`.

    Raises:
        UnknownForecaster: there is none.
    """
    found = FORECASTERS.get(name) or FORECASTERS.get(f"{name}_v1")
    if found is None:
        raise UnknownForecaster(name=name, known=", ".join(FORECASTERS))
    return found
