"""Most made-up bodies name the caller's own tenant; else each would be refused at that field."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("tenant_id"), str) and len(body["tenant_id"]) % 4:
        return {**body, "tenant_id": "alpha"}
    return body
