"""Forecasts by a registered model: its production version, asked for each step with features as of that step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from features.catalog import FEATURE_SETS, Feature, WeatherAt
from forecasting.errors import ModelCannotForecast, SeriesTooShort
from forecasting.forecasters.base import Outcome, Problem
from forecasting.horizon import grid_times, target_times
from forecasting.intervals import ordered
from forecasting.recursive import Floats, Ints, measured_bands, predict_ahead
from registry import serving
from registry.models import ModelVersion

DAY_MINUTES = 1440
MOST_WINDOWS, LEAST_WINDOWS = 60, 10


@dataclass(slots=True)
class RegisteredForecaster:
    """A version that is in production, with the features of the set that its metadata names."""

    name: str
    version: ModelVersion
    features: tuple[Feature, ...]

    @property
    def identity(self) -> str:
        """Changes with whatever changes its predictions."""
        said = self.version.metadata
        return f"{self.version.pk}:{self.version.sha256}:{said['feature_set']}@{said['feature_set_version']}"

    def forecast(self, problem: Problem, *, seed: int = 0) -> Outcome:
        """Raises SeriesTooShort, ModelCannotForecast, and what the registry says of the model and its input."""
        wanted = self.version.metadata.get("interval_minutes")
        if wanted not in (None, problem.series.interval_minutes):
            raise _refused(
                self.name, f"it was made for steps of {wanted} minutes; ask for that interval_minutes"
            )
        origins, warnings = self._origins(problem)
        n, steps = problem.series.values.size, problem.steps
        predicted = predict_ahead(self._ask, self.features, problem, np.append(origins, n))
        observed = problem.series.values[origins[:, None] + np.arange(steps)]
        bands = measured_bands(predicted[:-1], observed)
        ahead = predicted[-1]
        quantiles = np.column_stack([ahead + bands.low, ahead, ahead + bands.high])
        never_negative = bool(np.nanmin(problem.series.values) >= 0)
        return Outcome(
            times=target_times(problem.series, steps),
            quantiles=ordered(quantiles, 0.0 if never_negative else -np.inf),
            coverage_by_step=bands.coverage_by_step,
            accuracy=bands.accuracy,
            algorithm=f"{self.version.framework} ({self.version.format}), step by step",
            features_used=tuple(self.version.feature_names),
            training_samples=_whole(self.version.metadata.get("training_samples")),
            warnings=(*warnings, *self._unused(problem)),
        )

    def rows_asked(self, problem: Problem) -> Floats:
        """What the model is asked for each step ahead, shape (steps, features), columns in the model's order."""
        rows: list[Floats] = []

        def ask(columns: Mapping[str, Floats]) -> Floats:
            rows.append(serving.rows_of_arrays(self.version, columns))
            return np.asarray(serving.predict(self.version, rows[-1]).prediction.values, dtype=np.float64)

        predict_ahead(ask, self.features, problem, np.array([problem.series.values.size]))
        return np.concatenate(rows)

    def _ask(self, columns: Mapping[str, Floats]) -> Floats:
        rows = serving.rows_of_arrays(self.version, columns)
        return np.asarray(serving.predict(self.version, rows).prediction.values, dtype=np.float64)

    def _origins(self, problem: Problem) -> tuple[Ints, list[str]]:
        """Where past forecasts begin, a day apart: after the model's training where that is known and suffices."""
        series = problem.series
        day = max(1, DAY_MINUTES // series.interval_minutes)
        back = max(
            int(each.looks_back.total_seconds()) // (60 * series.interval_minutes) for each in self.features
        )
        last = series.values.size - problem.steps
        origins = np.arange(last, back, -day)[:MOST_WINDOWS][::-1]
        read = np.isfinite(series.values)
        has_outcome = np.array(
            [read[origin : origin + problem.steps].any() for origin in origins], dtype=bool
        )
        origins = origins[has_outcome] if origins.size else origins
        if origins.size < LEAST_WINDOWS:
            need = back + problem.steps + LEAST_WINDOWS * day + 1
            raise SeriesTooShort(have=series.values.size, need=need)
        until = _moment(self.version.metadata.get("trained_until"))
        if until is None:
            return origins, [
                "The model does not say until when it was trained (metadata.trained_until), so its errors may have "
                "been measured on history it knew, and the band may be too narrow."
            ]
        times = grid_times(series, count=series.values.size + 1)
        later = origins[times[origins] >= np.datetime64(until.replace(tzinfo=None), "s")]
        if later.size >= LEAST_WINDOWS:
            return later, []
        return origins, [
            f"Only {later.size} days of this history follow the model's training, so its errors were measured on "
            "history it knew as well, and the band may be too narrow."
        ]

    def _unused(self, problem: Problem) -> list[str]:
        given = set(problem.covariates.names) if problem.covariates is not None else set()
        weather = {each.name for each in self.features if isinstance(each.source, WeatherAt)}
        return [
            f"The model takes {name}, of which nothing is stored here: it was left missing."
            for name in sorted(weather - given)
        ]


def registered_forecaster(tenant_id: str, model_name: str) -> RegisteredForecaster | None:
    """The production version of that model of the tenant; None where there is none.

    Raises:
        ModelCannotForecast: its metadata names no feature set that is known here, or it predicts no number.
    """
    versions = ModelVersion.objects.for_tenant(tenant_id).select_related("model")
    version = versions.production().filter(model__name=model_name).first()
    return None if version is None else forecaster_of(version)


def forecaster_of(version: ModelVersion) -> RegisteredForecaster:
    """Raises ModelCannotForecast."""
    model_name = version.model.name
    declared = FEATURE_SETS.get(str(version.metadata.get("feature_set")))
    if declared is None:
        raise _refused(
            model_name,
            f"its metadata must name a feature_set (one of {', '.join(FEATURE_SETS)}) and feature_set_version",
        )
    if version.metadata.get("feature_set_version") != declared.version:
        raise _refused(
            model_name,
            f"{declared.name} is at version {declared.version} here, and its metadata says another",
        )
    if version.portrait.get("class_labels"):
        raise _refused(model_name, "it tells classes, not numbers")
    by_name = {each.name: each for each in declared.features}
    if unknown := [name for name in serving.columns_of(version) if name not in by_name]:
        raise _refused(model_name, f"it takes {', '.join(unknown[:10])}, which {declared.name} does not have")
    return RegisteredForecaster(model_name, version, tuple(by_name[name] for name in version.feature_names))


def _refused(model_name: str, reason: str) -> ModelCannotForecast:
    return ModelCannotForecast(model_name=model_name, reason=reason)


def _whole(said: Any) -> int:
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 2**31 else 0


def _moment(said: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return found and (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
