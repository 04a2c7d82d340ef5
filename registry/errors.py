"""What can be wrong with a model, in the words of the registry."""

from __future__ import annotations

from omarino.errors import HubError, Outage


class VersionExists(HubError):
    status = 409
    code = "version_exists"
    title = "Version exists"
    detail = "{model_id} is registered already. A version is written once; register the next one."


class VersionBusy(HubError):
    status = 409
    code = "version_busy"
    title = "Version busy"
    detail = "{model_id} is being registered or deleted at this moment. Look again in a few seconds."


class ArtifactExists(HubError):
    status = 409
    code = "artifact_exists"
    title = "Artifact exists"
    detail = "{model_id} has an artifact already, and it is another one. Register a new version."


class ArtifactLate(HubError):
    status = 409
    code = "artifact_late"
    title = "Too late for an artifact"
    detail = "{model_id} is in production without an artifact, and gets none behind the rules' back. Archive it first."


class ArtifactMissing(HubError):
    status = 409
    code = "artifact_missing"
    title = "No artifact"
    detail = "{model_id} has no artifact. Send one: PUT /ai/models/{model_id}/artifact."


class ArtifactCorrupt(HubError):
    status = 409
    code = "artifact_corrupt"
    title = "Artifact corrupt"
    detail = "The stored bytes of {model_id} are not those that were registered, so they are not used. Register it again."


class ArtifactTooLarge(HubError):
    status = 413
    code = "artifact_too_large"
    title = "Content too large"
    detail = "The artifact is larger than {limit_bytes} bytes, which this service takes."


class FeaturesMismatch(HubError):
    status = 422
    code = "features_mismatch"
    title = "Unprocessable content"
    detail = "metadata.feature_names does not fit the artifact: {reason}."


class QuantileModelRefused(HubError):
    status = 422
    code = "quantile_model_refused"
    title = "Unprocessable content"
    detail = "metadata.quantile_models names {named} for {quantile}, {reason}."


class TransitionRefused(HubError):
    status = 409
    code = "transition_refused"
    title = "Transition refused"
    detail = "{model_id} is in {stage} and cannot go to {target}. From there it may go to: {allowed}."


class PromotionRefused(HubError):
    status = 409
    code = "promotion_refused"
    title = "Promotion refused"
    detail = "{model_id} may not go to production: {reason}"


class InProduction(HubError):
    status = 409
    code = "in_production"
    title = "In production"
    detail = "{model_id} is in production. Promote another version first, or delete it with force=true."


class NoProductionVersion(HubError):
    status = 409
    code = "no_production_version"
    title = "No production version"
    detail = "No version of {model} is in production. Promote one, or name a version."


class RuntimeMissing(HubError):
    status = 409
    code = "runtime_missing"
    title = "Runtime missing"
    detail = (
        "{model_id} is registered, but what runs it is not installed here. The extra {extra!r} serves it."
    )


class InputRefused(HubError):
    status = 422
    code = "input_refused"
    title = "Unprocessable content"
    detail = "The input does not fit the model: {reason}"


class TableRefused(HubError):
    status = 422
    code = "table_refused"
    title = "Unprocessable content"
    detail = "The table was refused: {reason}"


class ModelFailed(HubError):
    status = 422
    code = "model_failed"
    title = "The model failed"
    detail = "{model_id} cannot answer for these rows: {reason}."


class ModelExists(HubError):
    status = 409
    code = "model_exists"
    title = "Model exists"
    detail = "A model {name!r} is registered already. Register its next version."


class SourceRefused(HubError):
    status = 422
    code = "source_refused"
    title = "Unprocessable content"
    detail = "The source cannot be registered: {reason}."


class MlflowUnsupported(HubError):
    status = 422
    code = "mlflow_unsupported"
    title = "Not offered to MLflow"
    detail = "{reason}."


class TrafficRefused(HubError):
    status = 409
    code = "traffic_refused"
    title = "Traffic refused"
    detail = "The traffic cannot be shared so: {reason}."


class NoTraffic(HubError):
    status = 404
    code = "no_traffic"
    title = "No traffic is shared"
    detail = (
        "No two versions of {model} share its traffic. Set it up: PUT /ai/models/{{tenant}}:{model}/traffic."
    )


class OutcomeRefused(HubError):
    status = 422
    code = "outcome_refused"
    title = "Unprocessable content"
    detail = "The outcome {index} cannot be kept: {reason}. None was."


class StorageUnavailable(Outage):
    code = "storage_unavailable"
    detail = "The storage of models does not answer. Nothing was changed; try again shortly."
