"""What a request that does not say means, how much is taken, and how long what was asked for is kept."""

from __future__ import annotations

import re

from omarino.settings.service import env

env.group("Defaults and limits")

DEFAULT_FORECAST_HORIZON = env.integer(
    "DEFAULT_FORECAST_HORIZON",
    default=24,
    minimum=1,
    maximum=168,
    meaning="`horizon_hours` when not asked for",
)
DEFAULT_FORECAST_INTERVAL = env.integer(
    "DEFAULT_FORECAST_INTERVAL",
    default=60,
    minimum=15,
    maximum=1440,
    meaning="`interval_minutes` when not asked for",
)
FORECAST_HISTORY_KEPT_DAYS = env.integer(
    "FORECAST_HISTORY_KEPT_DAYS",
    default=30,
    minimum=0,
    maximum=3_650,
    meaning="How long a history sent with a forecast's request is kept, so that the forecast can be explained: about "
    "6 bytes a value; 0 keeps none",
)
FORECAST_RESCORED_DAYS = env.integer(
    "FORECAST_RESCORED_DAYS",
    default=7,
    minimum=1,
    maximum=90,
    meaning="Days back that forecasts are scored again, so that late and corrected readings count",
)
DRIFT_COVERAGE = env.number(
    "DRIFT_COVERAGE",
    default=0.15,
    minimum=0.01,
    maximum=0.8,
    meaning="How far the share of outcomes inside p10..p90 may be from 0.8, over two weeks, before a flag is raised",
)
DRIFT_STABILITY_INDEX = env.number(
    "DRIFT_STABILITY_INDEX",
    default=0.5,
    minimum=0.05,
    maximum=100,
    meaning="Population stability index of four weeks of readings against the four before that raises a flag; of a feature "
    "as well, where it was no higher in the year before",
)
ANOMALY_THRESHOLD = env.number(
    "ANOMALY_THRESHOLD", default=3.0, minimum=1.0, maximum=5.0, meaning="`sensitivity` when not asked for"
)
SHAP_MAX_SAMPLES = env.integer(
    "SHAP_MAX_SAMPLES", default=100, minimum=10, maximum=1000, meaning="`max_samples` when not asked for"
)
MODEL_CACHE_SIZE = env.integer(
    "MODEL_CACHE_SIZE", default=10, minimum=1, meaning="Models kept loaded in a process"
)
MODEL_CACHE_TTL = env.integer("MODEL_CACHE_TTL", default=3600, meaning="Seconds an unused model stays loaded")
MODEL_CACHE_BYTES = env.integer(
    "MODEL_CACHE_BYTES",
    default=1_073_741_824,
    maximum=2**50,
    meaning="Memory of the models kept loaded in a process; one larger than that is loaded alone",
)
MODEL_MAX_BYTES = env.integer(
    "MODEL_MAX_BYTES", default=536_870_912, minimum=1, maximum=2**40, meaning="Largest artifact taken"
)
MODEL_INSPECTION_SECONDS = env.integer(
    "MODEL_INSPECTION_SECONDS",
    default=60,
    minimum=5,
    maximum=3600,
    meaning="Processor time in which an uploaded artifact must open, in a process of its own",
)
MODEL_INSPECTION_MEMORY_MB = env.integer(
    "MODEL_INSPECTION_MEMORY_MB", default=4096, minimum=512, meaning="Address space of that process"
)
MODEL_RUNNER_SECONDS = env.integer(
    "MODEL_RUNNER_SECONDS",
    default=30,
    minimum=1,
    maximum=600,
    meaning="Time in which a model that holds code (Keras, PyTorch), in a process of its own, must answer",
)
MODEL_RUNNER_MEMORY_MB = env.integer(
    "MODEL_RUNNER_MEMORY_MB", default=4096, minimum=512, meaning="Address space of that process"
)
EXPORT_KEEP_DAYS = env.integer(
    "EXPORT_KEEP_DAYS",
    default=30,
    maximum=36_500,
    meaning="Days an export is kept after its end, then deleted with its file; 0: for ever",
)
MLFLOW_UPLOAD_KEEP_DAYS = env.integer(
    "MLFLOW_UPLOAD_KEEP_DAYS",
    default=30,
    maximum=36_500,
    meaning="Days after which a run or logged model of an MLflow client that was never finished goes, with its files; 0: for ever",
)

JOB_LEASE_SECONDS = env.integer(
    "JOB_LEASE_SECONDS",
    default=60,
    minimum=4,
    maximum=3600,
    meaning="Of a worker that was not heard of for so long, a long work is another's; also, how soon a lost message is sent anew",
)
RATE_LIMIT_LIGHT = env.integer(
    "RATE_LIMIT_LIGHT",
    default=6000,
    maximum=10_000_000,
    meaning="Requests a minute of one subject on light routes (reading, single predictions); 0 for no limit",
)
RATE_LIMIT_HEAVY = env.integer(
    "RATE_LIMIT_HEAVY",
    default=1200,
    maximum=10_000_000,
    meaning="Requests a minute of one subject on heavy routes (what makes or stores something); 0 for no limit",
)
RATE_LIMIT_TENANT_FACTOR = env.integer(
    "RATE_LIMIT_TENANT_FACTOR",
    default=5,
    minimum=1,
    maximum=10_000,
    meaning="How many times as much all subjects of a tenant have together",
)

MIN_TRAINING_SAMPLES = env.integer(
    "MIN_TRAINING_SAMPLES", default=100, minimum=20, meaning="Rows a device's detector learns from at least"
)
RETRAIN_INTERVAL_HOURS = env.integer(
    "RETRAIN_INTERVAL_HOURS",
    default=24,
    minimum=1,
    meaning="Age at which a device's detector is trained anew",
)
RETRAIN_HOLD_DAYS = env.integer(
    "RETRAIN_HOLD_DAYS",
    default=7,
    maximum=3_650,
    meaning="Days in which no scheduled training replaces a detector that a person put into production, by a promotion "
    "or a rollback",
)
DETECTOR_KEEP_PROMOTIONS = env.integer(
    "DETECTOR_KEEP_PROMOTIONS",
    default=10,
    maximum=10_000,
    meaning="Detectors of a device kept to roll back to, those that were in production last; older ones that trainings "
    "made are deleted with their files",
)
DETECTOR_KEEP_DAYS = env.integer(
    "DETECTOR_KEEP_DAYS",
    default=14,
    maximum=36_500,
    meaning="Days a trained detector is kept that is not in production nor one to roll back to; 0: all are kept for ever",
)


def _hours_between(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text)
    first, until = (int(found[1]), int(found[2])) if found else (24, 24)
    env.require(first < 24 and until < 25, "RETRAIN_OFF_PEAK must be hours of the day such as 22-5.")
    return first, until


RETRAIN_OFF_PEAK = _hours_between(
    env.text("RETRAIN_OFF_PEAK", default="22-5", meaning="Hours (UTC) in which that is done")
)
