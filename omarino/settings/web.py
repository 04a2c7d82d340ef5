"""What Django and REST framework are told: apps, middleware, pages, cookies, headers, the API and its document."""

from __future__ import annotations

from urllib.parse import urlsplit

import django_stubs_ext
from csp.constants import NONE, SELF

from omarino.settings.identity import (
    CORS_ALLOWED_ORIGINS,
    KEYCLOAK_URL,
    SIGN_IN_BY_PASSWORD,
    SIGN_IN_BY_PROVIDER,
)
from omarino.settings.service import BASE_DIR, BEHIND_TLS_PROXY, VERSION

django_stubs_ext.monkeypatch()  # lets `ModelAdmin[Asset]` name its model, as mypy wants it

INSTALLED_APPS = [
    "omarino",
    "features",
    "registry",
    "forecasting",
    "anomalies",
    "explanations",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "corsheaders",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "omarino.metrics.RequestMetricsMiddleware",
    "omarino.edge.RequestIdMiddleware",
    # above all that answer by themselves: a static file and a refusal have these headers too
    "omarino.policy.PolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "omarino.limits.RateLimitHeaders",
    "omarino.edge.EdgeMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "omarino.asking.AskingMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "omarino.login.Renewal",
    "omarino.problems.OutageMiddleware",
]
ROOT_URLCONF = "omarino.urls"
WSGI_APPLICATION = "omarino.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "omarino.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    *(["omarino.login.IdentityProvider"] if SIGN_IN_BY_PROVIDER or not SIGN_IN_BY_PASSWORD else []),
    *(["django.contrib.auth.backends.ModelBackend"] if SIGN_IN_BY_PASSWORD else []),
]
CSRF_FAILURE_VIEW = "omarino.login.form_refused"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "admin:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
WHITENOISE_ALLOW_ALL_ORIGINS = False  # pages of others name none of our files
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440  # of forms; the API's own limits stand beside its views
TEST_RUNNER = "django.test.runner.DiscoverRunner"


def _origin(url: str) -> str:
    return "{0.scheme}://{0.netloc}".format(urlsplit(url))


SESSION_COOKIE_AGE = 43_200  # of who signed in by a password
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS_PROXY
SECURE_SSL_REDIRECT = BEHIND_TLS_PROXY
SECURE_REDIRECT_EXEMPT = [
    r"^health$",
    r"^api/health$",
    r"^health/detailed$",
    r"^metrics$",
]  # probes inside the cluster speak HTTP
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS_PROXY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BEHIND_TLS_PROXY
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS_PROXY else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # browsers hold this against where a form's answer sends them too: signing out, and being asked anew
        "form-action": [SELF, *([_origin(KEYCLOAK_URL)] if KEYCLOAK_URL else [])],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

CORS_URLS_REGEX = r"^/(ai/|openapi\.json$)"
CORS_ALLOW_CREDENTIALS = False  # a token, never the cookie of the pages
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "x-request-id", "x-tenant-id", "traceparent"]
CORS_EXPOSE_HEADERS = [
    *("Retry-After", "X-Request-ID", "Content-Disposition"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"),
]
CORS_PREFLIGHT_MAX_AGE = 600

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "omarino.authentication.BearerAuthentication",
        "omarino.authentication.SignedInAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["omarino.permissions.Closed"],
    "DEFAULT_THROTTLE_CLASSES": ["omarino.limits.RateLimit"],
    "DEFAULT_PARSER_CLASSES": ["omarino.api.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["omarino.api.JSONRenderer", "omarino.api.BrowsableRenderer"],
    "DEFAULT_PAGINATION_CLASS": "omarino.api.Pagination",
    "DEFAULT_SCHEMA_CLASS": "omarino.openapi.Schema",
    "EXCEPTION_HANDLER": "omarino.problems.handle_exception",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OMARINO AI Hub",
    "DESCRIPTION": "Forecasts with honest uncertainty, for the people who run energy sites.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/ai",
    "ENUM_NAME_OVERRIDES": {
        "StageEnum": "registry.models.Stage",
        "JobStatusEnum": "omarino.jobs.JobStatus",
        "SeverityEnum": "anomalies.models.Severity",
    },
}
