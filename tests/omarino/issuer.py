"""An identity provider of our own on 127.0.0.1: Keycloak's addresses, real keys, and every way to misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

REALM = "omarino"
AUDIENCE = "omarino-ai-hub"
RSA_KEYS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]
SHORT_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  to be refused
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk_of(key: Any, kid: str | None, **fields: Any) -> dict[str, Any]:
    """What Keycloak publishes of a signing key."""
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    published = {
        **algorithm.to_jwk(key.public_key(), as_dict=True),
        "kid": kid,
        "use": "sig",
        "alg": "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256",
        **fields,
    }
    return {name: value for name, value in published.items() if value is not None}


class Issuer:
    """Answers the JWKS address with `keys`, or with `body` as it is, after `delay_s`, dripping when told so."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk_of(RSA_KEYS[0], "first")]
        self.body: bytes | None = None
        self.status = 200
        self.drip_s = 0.0
        self.fetches = 0
        self.url = ""

    @property
    def name(self) -> str:
        return f"{self.url}/realms/{REALM}"

    def token(
        self,
        *,
        key: Any = RSA_KEYS[0],
        kid: str | None = "first",
        algorithm: str = "RS256",
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A Keycloak-shaped access token. A claim of None is left out; a timedelta is counted from now."""
        now = datetime.now(UTC)
        payload = {
            "iss": self.name,
            "aud": [AUDIENCE, "account"],
            "azp": "portal",
            "typ": "Bearer",
            "sub": "3f0c",
            "iat": now,
            "exp": now + timedelta(minutes=5),
            "tenant_id": "alpha",
            "preferred_username": "alice",
            "realm_access": {"roles": ["ai_user", "offline_access"]},
            **claims,
        }
        kept = {
            name: now + value if isinstance(value, timedelta) else value
            for name, value in payload.items()
            if value is not None
        }
        named = {**({"kid": kid} if kid is not None else {}), **(headers or {})}
        return jwt.encode(kept, key, algorithm=algorithm, headers=named)


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != f"/realms/{REALM}/protocol/openid-connect/certs":
                self.send_error(404)
                return
            issuer.fetches += 1
            body = json.dumps({"keys": issuer.keys}).encode() if issuer.body is None else issuer.body
            self.send_response(issuer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                for start in range(0, len(body), 16 if issuer.drip_s else max(len(body), 1)):
                    self.wfile.write(body[start : start + 16] if issuer.drip_s else body)
                    time.sleep(issuer.drip_s)
            except OSError:
                pass  # the service lost its patience, as it should

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
