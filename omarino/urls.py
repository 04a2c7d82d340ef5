"""Every address of the service."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin
from django.http import Http404
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView, SpectacularSwaggerSplitView

from omarino import login, provider_logout
from omarino.audit_views import AuditListView, AuditRecordView
from omarino.health import DetailedHealthView, HealthView
from omarino.problems import handler404 as not_found
from omarino.scraping import MetricsView

handler400 = "omarino.problems.handler400"
handler403 = "omarino.problems.handler403"
handler404 = "omarino.problems.handler404"
handler500 = "omarino.problems.handler500"

# ReDoc writes its styles into the page and searches in a worker; no other page may.
redoc = csp_update({"style-src": [SELF, UNSAFE_INLINE], "worker-src": [SELF, "blob:"]})(
    SpectacularRedocView.as_view(url_name="openapi")
)

# Of Django's, and closed: none of our forms completes anything, while one view would search whatever a page shows to who
# may see it; none of our rows has an address on another site, while the other would look up any id, or fail at it.
closed = admin.site.admin_view(not_found)

urlpatterns = [  # they are tried in this order, so what is asked most stands first
    path("ai/features/", include("features.urls")),
    path("ai/models/", include("registry.urls")),
    path("health", HealthView.as_view(), name="health"),
    path("api/health", HealthView.as_view(), name="api-health"),
    path("health/detailed", DetailedHealthView.as_view(), name="health-detailed"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="openapi"), name="docs"),
    path("redoc", redoc, name="redoc"),
    path("admin/login/", login.sign_in_page),  # these three in place of the admin's own
    path("admin/password_change/", admin.site.admin_view(login.password_page)),
    path("admin/logout/", login.LeaveView.as_view(), name="oidc_logout"),
    path("admin/oidc/authenticate/", login.BeginView.as_view(), name="oidc_authentication_init"),
    path("admin/oidc/callback/", login.ReturnView.as_view(), name="oidc_authentication_callback"),
    path(
        "admin/oidc/backchannel-logout/",
        provider_logout.ProviderLogoutView.as_view(),
        name="oidc_backchannel_logout",
    ),
    re_path(r"^admin/(?:autocomplete|r)/", closed, {"exception": Http404()}),
    path("admin/", admin.site.urls),
    path("ai/audit", AuditListView.as_view(), name="audit"),
    path("ai/audit/<uuid:pk>", AuditRecordView.as_view(), name="audit-record"),
    path("ai/mlflow/", include("registry.mlflow.urls")),
    path("ai/", include("forecasting.urls")),
    path("ai/", include("anomalies.urls")),
    path("ml/anomalies/", include("anomalies.device_urls")),
    path("ai/", include("explanations.urls")),
]
