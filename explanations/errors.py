"""What can be wrong with a question why, in the words of explanations."""

from __future__ import annotations

from omarino.errors import HubError


class NothingToExplain(HubError):
    status = 422
    code = "nothing_to_explain"
    title = "Unprocessable content"
    detail = "Say what to explain: input_features of a registered model, or the prediction_id of a forecast or a detection."


class TwoThingsToExplain(HubError):
    status = 422
    code = "two_things_to_explain"
    title = "Unprocessable content"
    detail = "Send either input_features or a prediction_id: a kept prediction has its own inputs."


class NotThisModels(HubError):
    status = 422
    code = "not_this_models"
    title = "Unprocessable content"
    detail = "The prediction {prediction_id} was made by {made_by}, not by {asked}. Leave model_name and model_version out, or correct them."


class BuiltInWithoutForecast(HubError):
    status = 422
    code = "built_in_without_forecast"
    title = "Unprocessable content"
    detail = (
        "{model_name} is fitted anew for each forecast, so it is explained through one: "
        "send the prediction_id of a forecast."
    )


class NoSuchPoint(HubError):
    status = 422
    code = "no_such_point"
    title = "Unprocessable content"
    detail = "{what} has {there}. {remedy}"


class NothingFlagged(HubError):
    status = 422
    code = "nothing_flagged"
    title = "Unprocessable content"
    detail = "The detection {detection_id} flagged no reading, so there is nothing to explain."


class NotAdditive(HubError):
    status = 422
    code = "not_additive"
    title = "Unprocessable content"
    detail = "{what} cannot be told as a sum: {reason}."


class NoBackground(HubError):
    status = 422
    code = "no_background"
    title = "Unprocessable content"
    detail = (
        "{model_id} can only be explained against rows that are usual for it, and there are none: {reason}. "
        "Send {field}, or name a feature_set in the model's metadata and store readings."
    )


class TooManyFeatures(HubError):
    status = 422
    code = "too_many_features"
    title = "Unprocessable content"
    detail = "{model_id} takes {have} features; what can only be asked is explained up to {most}. Export it as LightGBM, XGBoost or skops trees."


class NoSuchPicture(HubError):
    status = 422
    code = "no_such_picture"
    title = "Unprocessable content"
    detail = "There is no picture {kind!r} of this explanation. There are: {kinds}."


class NotAnsweredYet(HubError):
    status = 409
    code = "not_answered_yet"
    title = "Conflict"
    detail = (
        "The explanation {explanation_id} is {state}, so there is nothing to draw yet. Ask for it as JSON."
    )
