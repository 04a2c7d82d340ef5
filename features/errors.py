"""What can be wrong with readings, weather and assets."""

from __future__ import annotations

from omarino.errors import HubError, Outage


class FileUnreadable(HubError):
    status = 422
    code = "file_unreadable"
    title = "Unprocessable content"
    detail = "{name} cannot be read: {reason}."


class ColumnNotFound(HubError):
    status = 422
    code = "column_not_found"
    title = "Unprocessable content"
    detail = "{what} is not clear. The file has the columns: {columns}. {hint}"


class TimestampFormatInvalid(HubError):
    status = 422
    code = "timestamp_format_invalid"
    title = "Unprocessable content"
    detail = "The timestamp format {format!r} cannot be used: {reason}."


class UnknownTimeZone(HubError):
    status = 422
    code = "unknown_time_zone"
    title = "Unprocessable content"
    detail = "{timezone!r} is no time zone. Give an IANA name such as Europe/Berlin."


class AssetInvalid(HubError):
    status = 422
    code = "asset_invalid"
    title = "Unprocessable content"
    detail = "The asset cannot be made: {reason}"


class MetricInvalid(HubError):
    status = 422
    code = "metric_invalid"
    title = "Unprocessable content"
    detail = (
        "{metric!r} is no name of a metric: at most 64 letters, digits or . _ : -, beginning with a letter "
        "or digit."
    )


class TooManyReadings(HubError):
    status = 413
    code = "too_many_readings"
    title = "Content too large"
    detail = "The body holds more than {limit} readings. Send it in parts, or use manage.py import_readings."


class SiteUnreadable(HubError):
    status = 422
    code = "site_unreadable"
    title = "Unprocessable content"
    detail = "The site description {path} cannot be used: {reason}."


class UnitMismatch(HubError):
    status = 409
    code = "unit_mismatch"
    title = "Conflict"
    detail = (
        "The asset {asset_id} is read in {stored}; these readings say {given}. Convert them, or correct the "
        "unit of the asset first."
    )


class NothingTaken(HubError):
    status = 422
    code = "nothing_taken"
    title = "Unprocessable content"
    detail = "None of the {rejected_total} readings could be taken; `rejected` says why. Nothing was stored."


class UnknownFeatureSet(HubError):
    status = 422
    code = "unknown_feature_set"
    title = "Unprocessable content"
    detail = "There is no feature set {feature_set!r}. There are: {known}."


class UnknownFeature(HubError):
    status = 422
    code = "unknown_feature"
    title = "Unprocessable content"
    detail = "These features do not exist: {unknown}. There are: {known}."


class FeatureSetNameTaken(HubError):
    status = 409
    code = "feature_set_name_taken"
    title = "Conflict"
    detail = "{name} is a built-in set. Choose a name other than {built_in}."


class TooManyFeatureSets(HubError):
    status = 409
    code = "too_many_feature_sets"
    title = "Conflict"
    detail = "The tenant has {limit} feature sets. Remove one that is not needed."


class FeaturesNotChosen(HubError):
    status = 422
    code = "features_not_chosen"
    title = "Unprocessable content"
    detail = "Name either a feature_set ({known}) or feature_names, not both."


class AssetUnknown(HubError):
    status = 404
    code = "asset_unknown"
    title = "Not found"
    detail = "This tenant has no asset {asset_id}. An asset is made by its first reading."


class TimesReversed(HubError):
    code = "times_reversed"
    detail = "start_time must be before end_time."


class UnknownAssets(HubError):
    status = 422
    code = "unknown_assets"
    title = "Unprocessable content"
    detail = (
        "This tenant does not have these assets: {unknown}. Leave them out, or leave asset_ids out for all."
    )


class TooManyExports(HubError):
    status = 409
    code = "too_many_exports"
    title = "Conflict"
    detail = (
        "{limit} exports of this tenant are waiting already. Cancel some, or ask again when they are done."
    )


class IdempotencyKeyInvalid(HubError):
    status = 422
    code = "idempotency_key_invalid"
    title = "Unprocessable content"
    detail = "The header Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID."


class IdempotencyKeyReused(HubError):
    status = 422
    code = "idempotency_key_reused"
    title = "Unprocessable content"
    detail = "This Idempotency-Key stands for another request, {export_id}. Take a new key for a new request."


class ExportNotReady(HubError):
    status = 409
    code = "export_not_ready"
    title = "Conflict"
    detail = "This export is {state}, so there is no file to download."


class ExportFileGone(HubError):
    status = 410
    code = "export_file_gone"
    title = "Gone"
    detail = "The file of export {export_id} is not in the storage any more. Ask for the export again."


class NoData(HubError):
    status = 422
    code = "no_data"
    title = "Unprocessable content"
    detail = "There is no data: no asset of this export has a reading from {start} to {end}."


class ExportStorageUnavailable(Outage):
    code = "storage_unavailable"
    detail = (
        "The storage of exports does not answer, or is full. Nothing of the file is kept; try again shortly."
    )
