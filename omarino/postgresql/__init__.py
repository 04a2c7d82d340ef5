"""The database, and for which tenant this thread uses it. Imports no models: it is there before they are."""

from contextvars import ContextVar

SETTING = "omarino.tenant_id"
_confined_to: ContextVar[str] = ContextVar("confined_to", default="")


def confine(tenant_id: str) -> None:
    """From now on this thread is shown the rows of one tenant, until `release`. Its connection is told before it is
    used next."""
    _confined_to.set(tenant_id)


def release() -> None:
    """Whoever uses the connection next is confined anew, or not at all."""
    _confined_to.set("")


def confined_to() -> str:
    """The tenant whose rows this thread is shown; empty: all."""
    return _confined_to.get()
