"""Tokens of an identity provider that really answers on HTTP."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from rest_framework.exceptions import AuthenticationFailed

from omarino.authentication import MAX_TOKEN_BYTES, principal_of
from tests.omarino.conftest import Ask
from tests.omarino.issuer import AUDIENCE, EC_KEY, RSA_KEYS, Issuer, jwk_of


def ago(**amount: float) -> datetime:
    return datetime.now(UTC) - timedelta(**amount)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(header: dict[str, Any] | bytes, token: str) -> str:
    """The claims of a good token under another header, with its old signature."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return ".".join([b64(raw), *token.split(".")[1:]])


def test_a_good_token_says_who_asks(issuer: Issuer) -> None:
    asking = principal_of(issuer.token())

    assert (asking.subject, asking.tenant_id, asking.username) == ("3f0c", "alpha", "alice")
    assert asking.roles == {"ai_user"}  # Keycloak's own roles mean nothing to us


def test_a_good_token_opens_a_route(issuer: Issuer, ask: Ask) -> None:
    assert ask(issuer.token()).status_code == 200


def test_the_client_may_stand_in_azp_instead_of_aud(issuer: Issuer) -> None:
    assert principal_of(issuer.token(aud="account", azp=AUDIENCE)).tenant_id == "alpha"


def test_ten_seconds_of_clock_skew_are_forgiven(issuer: Issuer) -> None:
    assert principal_of(issuer.token(exp=ago(seconds=5), nbf=ago(seconds=-5))).tenant_id == "alpha"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": timedelta(minutes=-1)}, "expired"),
    "not yet valid": ({"nbf": timedelta(minutes=5)}, "not yet valid"),
    "issued in the future": ({"iat": timedelta(minutes=5)}, "not yet valid"),
    "of another issuer": ({"iss": "https://elsewhere.example/realms/omarino"}, "issuer"),
    "of another realm": ({"iss": "http://127.0.0.1/realms/other"}, "issuer"),
    "of no issuer": ({"iss": None}, "iss"),
    "for another audience": ({"aud": "grafana", "azp": "grafana"}, "not meant for omarino-ai-hub"),
    "for no audience": ({"aud": None, "azp": None}, "not meant for omarino-ai-hub"),
    "for an audience that is an object": ({"aud": {"omarino-ai-hub": 1}, "azp": 1}, "not meant for"),
    "without a subject": ({"sub": None}, "sub"),
    "with an empty subject": ({"sub": ""}, "sub"),
    "with an endless subject": ({"sub": "s" * 256}, "sub"),
    "with half a surrogate pair in the subject": ({"sub": "a\ud800"}, "surrogate"),
    "with a NUL in the subject": ({"sub": "a\0"}, "NUL"),
    "with half a surrogate pair in the user's name": ({"preferred_username": "a\ud800"}, "surrogate"),
    "without an expiry": ({"exp": None}, "exp"),
    "with an expiry of words": ({"exp": "tomorrow"}, "exp"),
    "with an expiry past all clocks": ({"exp": 10**400}, "too large"),
    "with an expiry as text": ({"exp": "9999999999"}, "exp must be a number"),
    "with a beginning that is true": ({"nbf": True}, "nbf must be a number"),
    "with a beginning as text": ({"nbf": "1"}, "nbf must be a number"),
    "with a time of issue as text": ({"iat": "1"}, "iat must be a number"),
    "with a beginning before all clocks": ({"nbf": -(10**400)}, "too large"),
    "with an infinite expiry": ({"exp": float("inf")}, "exp"),
    "with an infinite beginning": ({"nbf": float("inf")}, "nbf"),
    "with an infinite time of issue": ({"iat": float("inf")}, "iat"),
    "without a time of issue": ({"iat": None}, "iat"),
    "without a tenant": ({"tenant_id": None}, "tenant_id"),
    "with a list of tenants": ({"tenant_id": ["alpha"]}, "tenant_id"),
    "with a number as tenant": ({"tenant_id": 7}, "tenant_id"),
    "with an empty tenant": ({"tenant_id": ""}, "tenant_id"),
    "with a colon in the tenant": ({"tenant_id": "alpha:beta"}, "tenant_id"),
    "with a path as tenant": ({"tenant_id": "../beta"}, "tenant_id"),
    "with a line end after the tenant": ({"tenant_id": "alpha\n"}, "tenant_id"),
    "with a tenant of 65 characters": ({"tenant_id": "a" * 65}, "tenant_id"),
    "an ID token": ({"typ": "ID"}, "not an access token"),
    "a refresh token": ({"typ": "Refresh"}, "not an access token"),
    "an offline token": ({"typ": "Offline"}, "not an access token"),
    "a token of no type": ({"typ": None}, "not an access token"),
    "a token of an odd type": ({"typ": ["Bearer"]}, "not an access token"),
    "bound to a proof nobody asks for": ({"typ": "DPoP"}, "not an access token"),
    "bound to a certificate": ({"cnf": {"x5t#S256": "abc"}}, "not an access token"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_is_refused(case: str, issuer: Issuer, ask: Ask) -> None:
    claims, said = REFUSED[case]

    response = ask(issuer.token(**claims))

    assert response.status_code == 401
    assert said in response.json()["detail"]
    assert response.json()["code"] == "authentication_failed"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="ai-hub"'


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c", "crit", "cty", "enc", "zip"])
def test_a_header_that_brings_its_own_key_or_rules_is_refused(header: str, issuer: Issuer, ask: Ask) -> None:
    response = ask(issuer.token(headers={header: ["https://evil.example/keys"]}))

    assert (response.status_code, header in response.json()["detail"]) == (401, True)


@pytest.mark.parametrize("named", ["JWE", "logout+jwt", "dpop+jwt", "", 7, ["JWT"], None])
def test_a_header_of_another_type_is_refused(named: Any, issuer: Issuer, ask: Ask) -> None:
    response = ask(unsigned({"alg": "RS256", "kid": "first", "typ": named}, issuer.token()))

    assert response.status_code == 401


def test_the_header_may_say_that_it_is_an_access_token(issuer: Issuer) -> None:
    for header in ("at+jwt", "application/at+jwt", "AT+JWT"):
        assert principal_of(issuer.token(typ=None, headers={"typ": header})).tenant_id == "alpha"
        assert principal_of(issuer.token(headers={"typ": header})).tenant_id == "alpha"
    with pytest.raises(AuthenticationFailed, match="not an access token"):
        principal_of(issuer.token(typ="ID", headers={"typ": "at+jwt"}))


def test_nbf_is_demanded_where_the_operator_says_so(issuer: Issuer, ask: Ask, settings: Any) -> None:
    assert ask(issuer.token()).status_code == 200  # Keycloak leaves it out since its version 10
    settings.JWT_REQUIRE_NBF = True

    assert "nbf" in ask(issuer.token()).json()["detail"]
    assert ask(issuer.token(nbf=ago(minutes=1))).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        b'"tenant_id":"alpha","tenant_id":"beta"',
        b'"tenant_id":"beta","tenant_id":"alpha"',
        b'"tenant_id":"beta","tenant\\u005fid":"alpha"',
        b'"tenant_id":"alpha","realm_access":{"roles":[],"roles":["model_admin"]}',
    ],
)
def test_a_claim_said_twice_is_refused(claims: bytes, issuer: Issuer, ask: Ask) -> None:
    """Two readers could take it for two tenants."""
    payload = base64.urlsafe_b64decode(issuer.token(tenant_id=None, realm_access=None).split(".")[1] + "==")
    token = jwt.api_jws.PyJWS().encode(
        payload[:-1] + b"," + claims + b"}", RSA_KEYS[0], algorithm="RS256", headers={"kid": "first"}
    )

    response = ask(token)

    assert response.status_code == 401
    assert "appears twice" in response.json()["detail"]


def test_a_header_that_says_something_twice_is_refused(issuer: Issuer, ask: Ask) -> None:
    header = b64(b'{"alg":"RS256","kid":"second","kid":"first"}')
    signed = f"{header}.{issuer.token().split('.')[1]}"
    signature = RSA_KEYS[0].sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())

    response = ask(f"{signed}.{b64(signature)}")

    assert response.status_code == 401
    assert "appears twice" in response.json()["detail"]


def test_times_may_have_fractions(issuer: Issuer) -> None:
    now = datetime.now(UTC).timestamp()

    assert principal_of(issuer.token(iat=now, nbf=now - 0.5, exp=now + 60.5)).tenant_id == "alpha"


def test_a_token_in_a_token_is_refused(issuer: Issuer, ask: Ask) -> None:
    """Signed twice (`cty`), and encrypted: five parts."""
    nested = issuer.token()
    signed_again = jwt.api_jws.PyJWS().encode(
        nested.encode(), RSA_KEYS[0], algorithm="RS256", headers={"kid": "first", "cty": "JWT"}
    )
    assert ask(signed_again).status_code == 401
    unnamed = jwt.api_jws.PyJWS().encode(
        nested.encode(), RSA_KEYS[0], algorithm="RS256", headers={"kid": "first"}
    )
    assert ask(unnamed).status_code == 401
    assert ask(f"{nested}.{nested.split('.')[1]}.{nested.split('.')[2]}").status_code == 401
    encrypted = {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "first"}
    assert ask(unsigned(encrypted, nested) + ".AAAA.AAAA").status_code == 401


def test_an_unsigned_token_is_refused(issuer: Issuer, ask: Ask) -> None:
    for algorithm in ("none", "None", "nOnE", "", None, ["RS256"], {"RS256": 1}):
        token = unsigned({"alg": algorithm, "kid": "first"}, issuer.token())
        assert ask(token.rsplit(".", 1)[0] + ".").status_code == 401
        assert ask(token).status_code == 401


def test_a_token_signed_with_our_public_key_as_a_password_is_refused(issuer: Issuer, ask: Ask) -> None:
    pem = (
        RSA_KEYS[0]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = unsigned({"alg": "HS256", "kid": "first"}, issuer.token()).rsplit(".", 1)[0]
    signature = hmac.digest(pem, signed.encode(), "sha256")

    response = ask(f"{signed}.{b64(signature)}")

    assert (response.status_code, response.json()["detail"]) == (401, "The token must be signed by RS256.")


def test_only_the_configured_algorithm_is_taken_even_from_a_published_key(issuer: Issuer, ask: Ask) -> None:
    issuer.keys = [jwk_of(RSA_KEYS[0], "first"), jwk_of(EC_KEY, "curve")]

    assert ask(issuer.token(key=EC_KEY, kid="curve", algorithm="ES256")).status_code == 401
    assert ask(issuer.token(algorithm="RS512")).status_code == 401
    assert ask(issuer.token(algorithm="PS256")).status_code == 401
    assert ask(issuer.token()).status_code == 200


def test_es256_is_taken_when_it_is_configured_and_rs256_no_longer(
    issuer: Issuer, ask: Ask, settings: Any
) -> None:
    settings.JWT_ALGORITHM = "ES256"
    issuer.keys = [jwk_of(RSA_KEYS[0], "first"), jwk_of(EC_KEY, "curve")]

    assert ask(issuer.token(key=EC_KEY, kid="curve", algorithm="ES256")).status_code == 200
    assert ask(issuer.token()).status_code == 401


def test_a_token_of_another_key_under_a_known_name_is_refused(issuer: Issuer, ask: Ask) -> None:
    response = ask(issuer.token(key=RSA_KEYS[1]))

    assert response.status_code == 401
    assert "Signature verification failed" in response.json()["detail"]


def test_a_changed_claim_breaks_the_signature(issuer: Issuer, ask: Ask) -> None:
    header, _, signature = issuer.token().split(".")
    _, stolen, _ = issuer.token(tenant_id="gamma").split(".")

    assert ask(f"{header}.{stolen}.{signature}").status_code == 401


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "....",
        "e30.e30.",
        "é.ü.ß".encode().decode("latin-1"),
        b64(b"[]") + ".e30.e30",
        b64(b"[" * 6000) + ".e30.e30",
        b64(b'{"alg":"RS256","kid":' + b"1" * 5000 + b"}") + ".e30.e30",
        b64(b'{"alg":"RS256","kid":["first"]}') + ".e30.e30",
        b64(b'{"alg":"RS256","kid":{"a":1}}') + ".e30.e30",
        b64(b'{"alg":"RS256","kid":"first","b64":false,"typ":7}') + ".e30.e30",
        "a" * (MAX_TOKEN_BYTES + 1),
    ],
    ids=lambda token: token[:24],
)
def test_noise_in_the_place_of_a_token_is_a_401(token: str, issuer: Issuer, ask: Ask) -> None:
    assert ask(token).status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer\tx"])
def test_without_a_bearer_token_the_answer_says_so(header: str, issuer: Issuer, ask: Ask) -> None:
    response = ask(None, Authorization=header)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_odd_roles_are_no_roles(issuer: Issuer, ask: Ask) -> None:
    odd: list[Any] = [
        None,
        [],
        "ai_user",
        {"roles": "ai_user"},
        {"roles": {"ai_user": 1}},
        {"roles": [1, None]},
    ]
    for access in odd:
        assert principal_of(issuer.token(realm_access=access)).roles == frozenset()
