"""Who answered a forecast: under what name, in which version, by which algorithm."""

from __future__ import annotations

from dataclasses import dataclass

BUILT_IN_VERSION = "v1.0.0"
BLEND = "blend"  # of linear_v1 and lightgbm_v1, whatever their shares
REGISTERED = "registered"  # a model of the tenant
_BY_WORDS = {
    "linear_v1": "linear_v1",
    "ridge regression for each day of lead": "linear_v1",
    "gradient boosted trees with the lead as a feature": "lightgbm_v1",
    "trend, Fourier seasonalities and holidays": "prophet_like_v1",
    "the same hour of the last same weekday": "seasonal_naive_v1",
    "the same hour of the last days": "recent_days",
    "the last level": "last_value",
}


@dataclass(frozen=True, slots=True, order=True)
class Answered:
    """model_name: what was asked for. algorithm: what answered, which `auto` chooses anew for each forecast."""

    model_name: str
    model_version: str
    algorithm: str


def answered(model_name: str, model_version: str, words: str, *, is_built_in: bool) -> Answered:
    """The algorithm under a name that stays, of the words that a forecast keeps: `blend`, without its shares.

    Words that are not known here, of an earlier version, leave the name that was asked for.

    >>> answered("auto", "v1.0.0", "0.75 linear_v1 + 0.25 lightgbm_v1", is_built_in=True).algorithm
    'blend'
    """
    if not is_built_in:
        return Answered(model_name, model_version, REGISTERED)
    algorithm = BLEND if " + " in words else _BY_WORDS.get(words, model_name)
    return Answered(model_name, model_version, algorithm)
