"""The service beside a real OpenID Connect provider: npm's oidc-provider at Keycloak's addresses, see provider.mjs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings as of_the_service
from playwright.sync_api import Browser

from omarino.keys import KEYS, SHARED_FOR_S
from tests.node import NODE, environment, installed
from tests.omarino.conftest import pass_in_valkey
from tests.pages.conftest import DESK, PATIENCE_MS, Visit, address, browser

__all__ = ["address", "browser"]  # fixtures
HERE = Path(__file__).parent
SECRET = "of-the-pages"
START: dict[str, Any] = {
    "people": {
        "sub-alice": {
            "username": "alice",
            "password": "wonderland",
            "tenant_id": "alpha",
            "roles": ["ai_user", "forecaster"],
        },
        "sub-charlie": {
            "username": "charlie",
            "password": "chocolate",
            "tenant_id": "gamma",
            "roles": ["ai_user"],
        },
        "sub-norman": {"username": "norman", "password": "nothing", "tenant_id": "alpha", "roles": []},
        "sub-hannah": {"username": "hannah", "password": "homeless", "roles": ["ai_user"]},
    },
    "programs": {"meter-gateway": {"secret": "s3cret", "tenant_id": "alpha", "roles": ["ai_user"]}},
    "secret": SECRET,
    "redirect_uris": ["http://127.0.0.1/admin/oidc/callback/"],
    "post_logout_redirect_uris": ["http://127.0.0.1/admin/login/"],
    "keys": ["first"],
    "token_s": 300,
}


@dataclass
class Provider:
    """What it was told is a file, which it reads again at each use."""

    url: str
    file: Path

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/omarino"

    def tell(self, **facts: Any) -> None:
        self.file.write_text(json.dumps(json.loads(self.file.read_text()) | facts))

    def change(self, subject: str, **facts: Any) -> None:
        people = json.loads(self.file.read_text())["people"]
        people[subject] |= facts
        self.tell(people=people)

    def grant(self, **form: str) -> httpx.Response:
        return httpx.post(f"{self.issuer}/protocol/openid-connect/token", data=form)

    def token_of_a_program(self) -> str:
        answer = self.grant(
            grant_type="client_credentials", client_id="meter-gateway", client_secret="s3cret"
        )
        return str(answer.json()["access_token"])


@pytest.fixture(scope="session")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    file = tmp_path_factory.mktemp("identity") / "accounts.json"
    file.write_text(json.dumps(START))
    packages = installed(HERE)
    process = subprocess.Popen(
        [str(NODE), str(HERE / "provider.mjs"), str(file)],
        env=environment(packages),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    try:
        port = json.loads(process.stdout.readline())["port"]
        yield Provider(f"http://127.0.0.1:{port}", file)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def provider(running_provider: Provider, settings: Any) -> Iterator[Provider]:
    """The service set as in production, but for the database: sign-in by the provider alone."""
    running_provider.file.write_text(json.dumps(START))
    issuer = running_provider.issuer
    settings.KEYCLOAK_URL = running_provider.url
    settings.DEVELOPMENT_ISSUER = False
    settings.JWT_ISSUER = issuer
    settings.JWKS_URL = f"{issuer}/protocol/openid-connect/certs"
    settings.SIGN_IN_BY_PROVIDER, settings.SIGN_IN_BY_PASSWORD = True, False
    settings.AUTHENTICATION_BACKENDS = ["omarino.login.IdentityProvider"]
    settings.OIDC_RP_CLIENT_SECRET = SECRET
    settings.OIDC_OP_JWKS_ENDPOINT = settings.JWKS_URL
    for name, path in (("AUTHORIZATION", "auth"), ("TOKEN", "token"), ("LOGOUT", "logout")):
        setattr(settings, f"OIDC_OP_{name}_ENDPOINT", f"{issuer}/protocol/openid-connect/{path}")
    policy = of_the_service.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    settings.CONTENT_SECURITY_POLICY = {
        "DIRECTIVES": {**policy, "form-action": [*policy["form-action"], running_provider.url]}
    }
    pass_in_valkey(seconds=2 * SHARED_FOR_S)
    KEYS.forget()
    yield running_provider
    KEYS.forget()


Windows = Callable[[], Visit]


@pytest.fixture
def window(provider: Provider, browser: Browser, address: str) -> Iterator[Windows]:
    """Opens browser windows that know neither us nor the provider yet."""
    provider.tell(
        redirect_uris=[f"{address}/admin/oidc/callback/"],
        post_logout_redirect_uris=[f"{address}/admin/login/"],
    )
    visits: list[Visit] = []

    def window() -> Visit:
        context = browser.new_context(viewport=DESK)
        context.set_default_timeout(PATIENCE_MS)
        visits.append(Visit(context.new_page(), address, friends=(provider.url,)))
        visits[-1].listen()
        return visits[-1]

    yield window
    for visit in visits:
        visit.page.context.close()
    # what the provider's own pages complain of is its business
    told = [said for visit in visits for said in visit.complaints if not said.startswith(provider.url)]
    assert told == []
