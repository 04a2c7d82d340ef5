"""The page of a device that sends several metrics: what was unusual in them together, its detector, its trainings."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from anomalies.models import Detection
from features.models import Asset
from omarino.admin import PageAdmin, person
from omarino.errors import HubError, NotFound
from omarino.permissions import MayDetectAnomalies, MayManageModels
from registry.models import TrainingRun

HOURS = (24, 72, 168)  # to look at
TRAINED_ON_HOURS, CONTAMINATION = 720, 0.01  # by the button; the API takes others
TRAININGS = 5


class WithDevices(PageAdmin[Detection]):
    """Beside the pages of detections, since a device is an asset and what is found in it is not kept."""

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.device_view)
        return [path("device/<int:pk>/", page, name="anomalies_device"), *super().get_urls()]

    def device_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        who = person(request)
        assets = Asset.objects.all() if who.is_superuser else Asset.objects.for_tenant(who.tenant_id)
        asset = assets.filter(pk=pk).first()
        if asset is None:
            raise NotFound
        may_train = self._has_one_of(request, MayManageModels.roles)
        if request.method == "POST":
            if not may_train:
                raise PermissionDenied
            _train(request, asset, by=who.subject or f"user:{who.pk}")
            return redirect("admin:anomalies_device", asset.pk)
        asked = request.GET.get("hours", "")
        hours = int(asked) if asked in map(str, HOURS) else HOURS[0]
        may_detect = self._has_one_of(request, MayDetectAnomalies.roles)
        context = {
            "title": f"{asset}: its metrics together",
            "asset": asset,
            "zone": asset.timezone,
            "hours": hours,
            "choices": HOURS,
            "may_train": may_train,
            "may_detect": may_detect,
            **_detector_of(asset),
        }
        if may_detect and context["version"] is not None:
            context |= _found(asset, hours)
        return self.page_of(request, "admin/anomalies/device/page.html", context)


def _train(request: HttpRequest, asset: Asset, *, by: str) -> None:
    # Every command and worker finds these pages at its start; only what fits models needs it.
    from anomalies.device_actions import train_device

    try:
        run = train_device(
            tenant_id=asset.tenant_id,
            device=asset.asset_id,
            hours=TRAINED_ON_HOURS,
            contamination=CONTAMINATION,
            by=by,
        )
    except HubError as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, run.message or "It is being trained; load this page again in a while.")


def _detector_of(asset: Asset) -> dict[str, Any]:
    from anomalies.device_detectors import KIND, detector_of
    from anomalies.errors import DetectorUnusable, NoDetector

    trainings = TrainingRun.objects.for_tenant(asset.tenant_id).filter(kind=KIND, subject=asset.asset_id)
    try:
        version = detector_of(asset.tenant_id, asset.asset_id)
    except (NoDetector, DetectorUnusable):
        version = None
    return {"version": version, "trainings": list(trainings.select_related("version__model")[:TRAININGS])}


def _found(asset: Asset, hours: int) -> dict[str, Any]:
    from anomalies.device_actions import detect_on_device
    from anomalies.device_serializers import FoundSerializer, answered_as

    try:
        found = detect_on_device(tenant_id=asset.tenant_id, device=asset.asset_id, hours=hours)
    except HubError as refusal:
        return {"refusal": str(refusal)}
    told = FoundSerializer(found).data
    names = answered_as(found.table.metrics)
    rows = [
        {**point, "metrics": [(metric, point[name]) for metric, name in names.items()]}
        for point in reversed(told["anomalies"])
    ]
    return {"rows": rows, "points": told["analyzed_points"], "metrics": found.table.metrics}
