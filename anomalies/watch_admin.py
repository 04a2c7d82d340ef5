"""Watches and alerts in the admin: what is watched, whether looking works, what was found, who was told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from anomalies.models import Alert, Sending, Watch
from features.models import Asset
from omarino.admin import PageAdmin, person
from omarino.errors import HubError
from omarino.permissions import MayDetectAnomalies
from omarino.templatetags.quantities import age

SHOWN = 50  # alerts on the page of a watch
SECRET = "hub-watch-secret"  # noqa: S105  of the session: shown once, after the watch was set up


def assets_of(request: HttpRequest) -> QuerySet[Asset]:
    """What a person may choose from: the assets of the tenant, for a superuser all."""
    who = person(request)
    return Asset.objects.all() if who.is_superuser else Asset.objects.for_tenant(who.tenant_id)


def state_of(watch: Watch) -> SafeString:
    if not watch.is_active:
        return _marked("empty", "paused")
    return _marked("silent", "cannot judge") if watch.last_error else _marked("current", "watching")


def _marked(name: str, words: str) -> SafeString:
    return format_html('<span class="state state-{}">{}</span>', name, words)


@admin.register(Watch)
class WatchAdmin(PageAdmin[Watch]):
    page = "admin/anomalies/watch/page.html"
    add_roles = act_roles = MayDetectAnomalies.roles
    list_display = ["asset_id", "state", "last_look", "next_look", "alert_count", "last_alert", "method"]
    list_filter = ["is_active", "method"]
    search_fields = ["asset_id"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Watch]:
        watches = super().get_queryset(request)
        return watches.annotate(alerts_raised=Count("alerts"), alerted_at=Max("alerts__raised_at"))

    @admin.display(description="State", ordering="is_active")
    def state(self, watch: Watch) -> SafeString:
        return state_of(watch)

    @admin.display(description="Last judged", ordering="looked_at")
    def last_look(self, watch: Watch) -> str:
        return f"{age(watch.looked_at, timezone.now())} ago"

    @admin.display(description="Next look", ordering="next_look_at")
    def next_look(self, watch: Watch) -> str:
        return in_time(watch)

    @admin.display(description="Alerts", ordering="alerts_raised")
    def alert_count(self, watch: Any) -> int:
        return int(watch.alerts_raised)

    @admin.display(description="Last alert", ordering="alerted_at")
    def last_alert(self, watch: Any) -> str:
        return f"{age(watch.alerted_at, timezone.now())} ago" if watch.alerted_at else "–"

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Every command and worker finds these pages at its start; only this one needs the detectors.
        from anomalies.forms import WatchForm
        from anomalies.watch_actions import set_up_watch

        if not self.has_add_permission(request):
            raise PermissionDenied
        form = WatchForm(
            request.POST if request.method == "POST" else None,
            assets=assets_of(request),
            names_tenants=person(request).is_superuser,
            initial={"asset": request.GET.get("asset")},
        )
        if form.is_valid():
            try:
                watch = set_up_watch(**form.asked(), created_by=_subject(request))
            except HubError as refusal:
                form.add_error(None, str(refusal))
            else:
                if watch.webhook_url:
                    request.session[SECRET] = str(watch.pk)
                messages.success(request, "It is watched from now on.")
                return redirect("admin:anomalies_watch_change", watch.pk)
        context = {"title": "Watch an asset", "form": form, "button": "Watch it"}
        return self.page_of(request, "admin/question.html", {**context, **(extra_context or {})})

    def context_of(self, request: HttpRequest, row: Watch) -> dict[str, Any]:
        asset = Asset.objects.for_tenant(row.tenant_id).filter(asset_id=row.asset_id).first()
        is_new = request.session.get(SECRET) == str(row.pk)
        if is_new:
            del request.session[SECRET]
        return {
            "title": f"{asset or row.asset_id}: watched",
            "watch": row,
            "asset": asset,
            "zone": asset.timezone if asset else "UTC",
            "state": state_of(row),
            "next_look": in_time(row),
            "minutes": row.every // timedelta(minutes=1),
            "secret": row.webhook_secret if is_new else "",
            "alerts": list(row.alerts.select_related("detection").defer("detection__anomalies")[:SHOWN]),
            "alert_count": row.alerts.count(),
            "now": timezone.now(),
        }

    def act(self, request: HttpRequest, row: Watch) -> HttpResponse:
        """What a button asks for, by the same verbs as the API."""
        from anomalies.watch_actions import change_watch, remove_watch, try_webhook

        asked = request.POST.get("do", "")
        of_row: dict[str, Any] = {"tenant_id": row.tenant_id, "watch_id": row.pk}
        try:
            if asked == "pause":
                change_watch(**of_row, is_active=False)
                messages.success(request, "Paused: nothing is judged or told until it goes on.")
            elif asked == "go on":
                change_watch(**of_row, is_active=True)
                messages.success(request, "It goes on, and looks within a minute.")
            elif asked == "look":
                change_watch(**of_row)
                messages.success(request, "It looks within a minute; then load this page again.")
            elif asked == "try":
                answer = try_webhook(**of_row)
                level = messages.SUCCESS if answer.was_taken else messages.WARNING
                messages.add_message(request, level, f"The webhook was tried. {answer.told}")
            elif asked == "remove":
                remove_watch(**of_row)
                messages.success(request, f"{row.asset_id} is no longer watched; its alerts are gone.")
                return redirect("admin:anomalies_watch_changelist")
            else:
                raise PermissionDenied
        except HubError as refusal:
            messages.error(request, str(refusal))
        return redirect("admin:anomalies_watch_change", row.pk)


@admin.register(Alert)
class AlertAdmin(PageAdmin[Alert]):
    page = "admin/anomalies/alert/page.html"
    list_display = ["asset", "what", "severity", "began", "told", "raised"]
    list_filter = ["severity", "sending", "kind", "raised_at"]
    search_fields = ["watch__asset_id"]
    list_select_related = ["watch"]
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return super().get_queryset(request).select_related("watch")

    @admin.display(description="Asset", ordering="watch__asset_id")
    def asset(self, alert: Alert) -> str:
        return alert.watch.asset_id

    @admin.display(description="What", ordering="kind")
    def what(self, alert: Alert) -> str:
        return alert.kind.replace("_", " ")

    @admin.display(description="Began (UTC)", ordering="first_at")
    def began(self, alert: Alert) -> str:
        return f"{alert.first_at:%-d %b %Y %H:%M}"

    @admin.display(description="Told", ordering="sending")
    def told(self, alert: Alert) -> SafeString:
        return sending_of(alert)

    @admin.display(description="Raised (UTC)", ordering="raised_at")
    def raised(self, alert: Alert) -> str:
        return f"{alert.raised_at:%-d %b %Y %H:%M}"

    def context_of(self, request: HttpRequest, row: Alert) -> dict[str, Any]:
        asset_id = row.watch.asset_id
        asset = Asset.objects.for_tenant(row.tenant_id).filter(asset_id=asset_id).first()
        return {
            "title": f"{asset or asset_id}: {row.kind.replace('_', ' ')}",
            "alert": row,
            "asset": asset,
            "zone": asset.timezone if asset else "UTC",
            "sending": sending_of(row),
        }


def sending_of(alert: Alert) -> SafeString:
    name = {Sending.DELIVERED: "current", Sending.FAILED: "silent"}.get(Sending(alert.sending), "empty")
    return _marked(name, alert.get_sending_display())


def in_time(watch: Watch) -> str:
    """When it looks next, in words."""
    if not watch.is_active:
        return "paused"
    ahead = watch.next_look_at - timezone.now()
    return (
        f"in {age(timezone.now(), watch.next_look_at)}" if ahead.total_seconds() > 60 else "within a minute"
    )


def _subject(request: HttpRequest) -> str:
    who = person(request)
    return who.subject or f"user:{who.pk}"
