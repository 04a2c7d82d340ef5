"""The root of the error family. No framework here: a status is a number, `omarino.problems` sends it."""

from __future__ import annotations

from typing import Any


class HubError(Exception):
    """A refusal the caller can understand and act upon."""

    status = 400
    code = "bad_request"
    title = "Bad request"
    detail = "The request cannot be served."

    def __init__(self, **facts: Any) -> None:
        super().__init__(self.detail.format(**facts))
        self.facts = facts


class Outage(Exception):
    """A part this service depends on does not answer. Not the caller's fault: 503, try again."""

    status = 503
    code = "dependency_unavailable"
    title = "Service unavailable"
    detail = "A part this service depends on does not answer. Try again shortly."
    retry_after_s = 5

    def __init__(self, **facts: Any) -> None:
        super().__init__(self.detail.format(**facts))
        self.facts = facts


class NotFound(HubError):
    """The one answer for what is not there and for what belongs to somebody else."""

    status = 404
    code = "not_found"
    title = "Not found"
    detail = "There is nothing here under this address for this tenant."


class NotYours(NotFound):
    """The same answer, where the address itself names another tenant: the audit keeps it as refused."""


class TenantMismatch(HubError):
    status = 403
    code = "tenant_mismatch"
    title = "Forbidden"
    detail = "The tenant named in {where} is not the tenant of your token. Leave it out or name your own."


class BodyTooLarge(HubError):
    status = 413
    code = "body_too_large"
    title = "Content too large"
    detail = "The body is larger than the {limit_bytes} bytes this route takes. Send it in smaller parts."


class MalformedBody(HubError):
    status = 400
    code = "malformed_body"
    title = "Bad request"
    detail = "The body cannot be read: {reason}."


class BodyTooSlow(HubError):
    status = 408
    code = "body_too_slow"
    title = "Request timeout"
    detail = (
        "The body did not arrive: nothing came for {patience_s} s, or on the average less than {least_bytes_s} bytes "
        "a second. Send it again."
    )


class LengthRequired(HubError):
    status = 411
    code = "length_required"
    title = "Length required"
    detail = "Send the body with a Content-Length header: bodies of unknown length (chunked) are not read."


class MalformedAddress(HubError):
    status = 400
    code = "malformed_address"
    title = "Bad request"
    detail = "The address or its query holds a NUL character. Leave it out."


class BodyNotKept(Outage):
    code = "body_not_kept"
    detail = "There is no room where long bodies wait. Try again shortly."


class DatabaseUnavailable(Outage):
    code = "database_unavailable"
    detail = "The database does not answer. Nothing was lost; try again shortly."


class DatabaseMigrating(Outage):
    code = "database_migrating"
    detail = "The database is being brought to another version. Nothing was lost; try again shortly."


class IdentityUnavailable(Outage):
    code = "identity_unavailable"
    detail = "The identity provider's keys cannot be fetched, so tokens cannot be checked. Try again shortly."
