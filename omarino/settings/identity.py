"""Who may come in: tokens of Keycloak or our own, people who sign in to the pages, pages of others."""

from __future__ import annotations

from datetime import timedelta

from omarino import logs
from omarino.env import parts
from omarino.settings.service import DEVELOPMENT, env

env.group("Identity")

KEYCLOAK_URL = env.url(
    "KEYCLOAK_URL",
    schemes=("http", "https"),
    meaning="Keycloak; unset (development only), the service trusts its own `manage.py token`",
).rstrip("/")
KEYCLOAK_REALM = env.text("KEYCLOAK_REALM", default="omarino", meaning="Its realm")
KEYCLOAK_CLIENT_ID = env.text(
    "KEYCLOAK_CLIENT_ID", default="omarino-ai-hub", meaning="Audience of our tokens"
)
KEYCLOAK_CLIENT_SECRET = env.secret(
    "KEYCLOAK_CLIENT_SECRET",
    meaning="Lets people sign in to the pages by Keycloak; outside development there is no other way in",
)
SIGN_IN_RENEWAL_SECONDS = env.integer(
    "SIGN_IN_RENEWAL_SECONDS",
    default=900,
    minimum=30,
    maximum=86_400,
    meaning="After so long the next page asks Keycloak anew, unseen; without pages a session ends after four times that",
)
JWT_ALGORITHM = env.text(
    "JWT_ALGORITHM", default="RS256", choices=("RS256", "ES256"), meaning="The one signature accepted"
)
JWT_REQUIRE_NBF = env.flag(
    "JWT_REQUIRE_NBF",
    default=False,
    meaning="Refuse tokens without `nbf`, which Keycloak leaves out since its version 10; where it stands it is checked",
)
DEVELOPMENT_ISSUER = DEVELOPMENT and not KEYCLOAK_URL
JWT_ISSUER = f"{KEYCLOAK_URL}/realms/{KEYCLOAK_REALM}" if KEYCLOAK_URL else "urn:omarino:development"
JWKS_URL = f"{JWT_ISSUER}/protocol/openid-connect/certs" if KEYCLOAK_URL else ""
JWT_LEEWAY = timedelta(seconds=10)
SIGN_IN_BY_PROVIDER = bool(KEYCLOAK_URL and KEYCLOAK_CLIENT_SECRET)
SIGN_IN_BY_PASSWORD = DEVELOPMENT
CORS_ALLOWED_ORIGINS = parts(
    env.text(
        "CORS_ALLOWED_ORIGINS",
        meaning="Origins whose pages may call the API with a token, such as https://portal.example.org; unset, none",
    )
)
env.require(
    DEVELOPMENT or bool(KEYCLOAK_URL),
    "KEYCLOAK_URL must be set outside development: there is no other issuer.",
)
env.require(
    not DEVELOPMENT_ISSUER or JWT_ALGORITHM == "RS256",
    "JWT_ALGORITHM must be RS256 without KEYCLOAK_URL: development tokens are signed by RS256.",
)

# As mozilla-django-oidc calls them, see omarino/login.py

OIDC_RP_CLIENT_ID = KEYCLOAK_CLIENT_ID
OIDC_RP_CLIENT_SECRET = KEYCLOAK_CLIENT_SECRET
OIDC_RP_SIGN_ALGO = JWT_ALGORITHM
OIDC_RP_SCOPES = "openid profile"
OIDC_OP_AUTHORIZATION_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/auth"
OIDC_OP_TOKEN_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/token"
OIDC_OP_USER_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/userinfo"  # asked for by name, never called
OIDC_OP_LOGOUT_ENDPOINT = f"{JWT_ISSUER}/protocol/openid-connect/logout"
OIDC_OP_LOGOUT_URL_METHOD = "omarino.login.end_session_url"
OIDC_OP_JWKS_ENDPOINT = JWKS_URL
OIDC_USE_PKCE = True
OIDC_TIMEOUT = 5
OIDC_EXEMPT_URLS = ["admin:login"]
OIDC_STORE_ID_TOKEN = True  # the provider wants it when somebody signs out
OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS = SIGN_IN_RENEWAL_SECONDS
logs.keep_secret([KEYCLOAK_CLIENT_SECRET])
