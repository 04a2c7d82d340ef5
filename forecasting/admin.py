"""Forecasts in the admin: make one, look at one. They are records, so nobody changes them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from features.models import Asset
from forecasting.charts import fan_chart, in_words
from forecasting.models import DriftFlag, Forecast, ForecastQuerySet, ForecastScore
from omarino.admin import PageAdmin, TenantAdmin, person
from omarino.errors import HubError
from omarino.permissions import MayForecast
from omarino.templatetags.quantities import percent, quantity


class ForecastList(ChangeList):
    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        forecasts = super().get_queryset(request, exclude_parameters)
        return forecasts.without_steps() if isinstance(forecasts, ForecastQuerySet) else forecasts


@admin.register(Forecast)
class ForecastAdmin(PageAdmin[Forecast]):
    page = "admin/forecasting/forecast/page.html"
    add_roles = MayForecast.roles
    list_display = [
        "asset_id",
        "kind",
        "starts_at",
        "hours",
        "algorithm",
        "typical_error",
        "held",
        "warning_count",
        "made",
    ]
    list_filter = ["forecast_type", "model_name", "made_at"]
    search_fields = ["asset_id"]
    list_per_page = 50

    @admin.display(description="Kind", ordering="forecast_type")
    def kind(self, forecast: Forecast) -> str:
        return forecast.get_forecast_type_display()

    @admin.display(description="Hours", ordering="horizon_hours")
    def hours(self, forecast: Forecast) -> int:
        return forecast.horizon_hours

    @admin.display(description="From (UTC)", ordering="first_target_at")
    def starts_at(self, forecast: Forecast) -> str:
        return f"{forecast.first_target_at:%-d %b %Y %H:%M}"

    @admin.display(description="Made (UTC)", ordering="made_at")
    def made(self, forecast: Forecast) -> str:
        return f"{forecast.made_at:%-d %b %Y %H:%M}"

    @admin.display(description="Typical error")
    def typical_error(self, forecast: Forecast) -> str:
        return f"{quantity(forecast.mae)} {forecast.unit}" if forecast.mae is not None else "–"

    @admin.display(description="In band", ordering="coverage")
    def held(self, forecast: Forecast) -> str:
        return percent(forecast.coverage)

    @admin.display(description="Warnings")
    def warning_count(self, forecast: Forecast) -> str:
        return str(len(forecast.warnings) or "–")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ForecastList

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Not a row to fill in: what is asked for, and the forecast is computed."""
        # Every command and worker finds these pages at its start; only this one needs what fits models.
        from forecasting.actions import make_forecast
        from forecasting.forms import ForecastForm

        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ForecastForm(
            request.POST if request.method == "POST" else None,
            assets=self._assets(request),
            names_tenants=person(request).is_superuser,
            initial={"asset": request.GET.get("asset")},
        )
        if form.is_valid():
            try:
                forecast = make_forecast(**form.asked())
            except HubError as refusal:
                form.add_error(None, str(refusal))
            else:
                messages.success(request, "The forecast is made.")
                return redirect("admin:forecasting_forecast_change", forecast.pk)
        context = {"title": "Make a forecast", "form": form, "button": "Make the forecast"}
        return self.page_of(request, "admin/question.html", {**context, **(extra_context or {})})

    def context_of(self, request: HttpRequest, row: Forecast) -> dict[str, Any]:
        asset = Asset.objects.for_tenant(row.tenant_id).filter(asset_id=row.asset_id).first()
        chart = fan_chart(row, asset)
        return {
            "title": f"{asset or row.asset_id}: {row.forecast_type} forecast",
            "forecast": row,
            "asset": asset,
            "steps": list(row.steps()),
            "zone": chart["zone"],
            "chart": chart,
            "chart_in_words": in_words(chart, row),
            "may_make": self.has_add_permission(request),
            "now": timezone.now(),
        }

    def _assets(self, request: HttpRequest) -> QuerySet[Asset]:
        who = person(request)
        return Asset.objects.all() if who.is_superuser else Asset.objects.for_tenant(who.tenant_id)


@admin.register(ForecastScore)
class ForecastScoreAdmin(TenantAdmin[ForecastScore]):
    """How forecasts turned out. Nobody writes here but the hourly scoring."""

    list_display = [
        *("day", "asset_id", "model_name", "model_version", "algorithm", "leads", "count"),
        *("error", "relative", "pinball_loss", "held", "lean"),
    ]
    list_filter = ["algorithm", "model_name", "lead_hours", "day"]
    search_fields = ["asset_id"]
    date_hierarchy = "day"
    list_per_page = 50

    @admin.display(description="Ahead", ordering="lead_hours")
    def leads(self, score: ForecastScore) -> str:
        return f"up to {score.lead_hours} h"

    @admin.display(description="MAE", ordering="mae")
    def error(self, score: ForecastScore) -> str:
        return quantity(score.mae)

    @admin.display(description="MAE ratio")
    def relative(self, score: ForecastScore) -> str:
        return percent(score.mae / score.size) if score.size else "–"

    @admin.display(description="Pinball", ordering="pinball")
    def pinball_loss(self, score: ForecastScore) -> str:
        return quantity(score.pinball)

    @admin.display(description="Coverage", ordering="coverage")
    def held(self, score: ForecastScore) -> str:
        return percent(score.coverage)

    @admin.display(description="Bias", ordering="bias")
    def lean(self, score: ForecastScore) -> str:
        return quantity(score.bias)


@admin.register(DriftFlag)
class DriftFlagAdmin(TenantAdmin[DriftFlag]):
    """What moved, and asks for a training."""

    list_display = [
        "asset_id",
        "kind",
        "model_name",
        "model_version",
        "algorithm",
        "feature",
        "found",
        "allowed",
        "reference_from",
        "window_from",
        "window_until",
        "raised_at",
        "seen_at",
        "cleared_at",
    ]
    list_filter = ["kind", ("cleared_at", admin.EmptyFieldListFilter)]
    search_fields = ["asset_id"]
    list_per_page = 50

    @admin.display(description="Value", ordering="value")
    def found(self, flag: DriftFlag) -> str:
        return f"{flag.value:.2f}"

    @admin.display(description="Limit", ordering="limit")
    def allowed(self, flag: DriftFlag) -> str:
        return f"{flag.limit:.2f}"
