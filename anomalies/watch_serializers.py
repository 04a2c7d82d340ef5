"""Watches and alerts on the wire."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from rest_framework import serializers

from anomalies.models import Alert, Method, Severity
from features.models import validate_asset_id
from omarino.api import StrictSerializer, TenantField
from omarino.number_fields import NumberField, WholeNumberField


class MinutesField(WholeNumberField):
    """A duration in whole minutes."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """The number is held against its bounds first: no duration holds the largest numbers."""
        return timedelta(minutes=super().run_validation(data))

    def to_representation(self, value: Any) -> Any:
        return value // timedelta(minutes=1)


class WatchFields(serializers.Serializer[Any]):
    """What one may say of a watch."""

    method = serializers.ChoiceField(choices=Method.values, default=Method.ISOLATION_FOREST)
    sensitivity = NumberField(min_value=1, max_value=5, help_text="1 finds most, 5 least.")
    lookback_hours = WholeNumberField(
        min_value=24, max_value=8760, default=168, help_text="The window that is judged at each look."
    )
    every_minutes = MinutesField(
        source="every",
        min_value=5,
        max_value=1440,
        default=60,
        help_text="Between two looks.",
    )
    minimum_severity = serializers.ChoiceField(
        choices=Severity.choices,
        default=Severity.MEDIUM,
        help_text="Of an event that raises an alert. Silence is told whatever it is, as high.",
    )
    silent_after_hours = WholeNumberField(
        min_value=0, max_value=8760, default=24, help_text="Alert when no reading came for so long; 0: never."
    )
    webhook_url = serializers.CharField(
        max_length=500,
        allow_blank=True,
        default="",
        help_text="Alerts are posted here, signed as Standard Webhooks says.",
    )
    is_active = serializers.BooleanField(default=True)


class SetUpWatchSerializer(StrictSerializer, WatchFields):
    """What is watched, and how."""

    tenant_id = TenantField()
    asset_id = serializers.CharField(max_length=128, validators=[validate_asset_id])
    sensitivity = NumberField(
        min_value=1,
        max_value=5,
        default=lambda: settings.ANOMALY_THRESHOLD,
        help_text="1 finds most, 5 least.",
    )


class ChangeWatchSerializer(StrictSerializer, WatchFields):
    """All but the asset: another one is another watch."""

    tenant_id = TenantField(required=False)


class WatchSerializer(WatchFields):
    watch_id = serializers.UUIDField(source="pk")
    tenant_id = serializers.CharField()
    asset_id = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    looked_at = serializers.DateTimeField()
    next_look_at = serializers.DateTimeField()
    judged_until = serializers.DateTimeField(help_text="The newest reading that was judged.")
    last_error = serializers.CharField(help_text="Why the last look could not judge; empty when it could.")


class NewWatchSerializer(WatchSerializer):
    webhook_secret = serializers.CharField(help_text="Shown this once. Verify signatures with it.")


class AlertSerializer(serializers.ModelSerializer[Alert]):
    alert_id = serializers.UUIDField(source="pk")
    asset_id = serializers.CharField(source="watch.asset_id")
    severity = serializers.ChoiceField(
        choices=Severity.choices, help_text="The worst so far, as are the peak, the kind and the explanation."
    )
    told_severity = serializers.CharField(
        help_text="The severity that the webhook took last; empty while it took none."
    )

    class Meta:
        model = Alert
        fields = [
            *("alert_id", "tenant_id", "watch_id", "detection_id", "asset_id", "kind", "severity"),
            *("first_at", "last_at", "points", "peak_at", "peak_value", "peak_score", "explanation"),
            *("raised_at", "sending", "told_severity", "attempts", "delivered_at", "last_answer"),
        ]


class AlertFilterSerializer(serializers.Serializer[Any]):
    watch_id = serializers.UUIDField(required=False)
    asset_id = serializers.CharField(source="watch__asset_id", required=False, max_length=128)
    severity = serializers.ChoiceField(choices=Severity.choices, required=False)


class WatchFilterSerializer(serializers.Serializer[Any]):
    asset_id = serializers.CharField(required=False, max_length=128)


class TriedSerializer(serializers.Serializer[Any]):
    was_taken = serializers.BooleanField()
    status = serializers.IntegerField(
        allow_null=True, help_text="Of the receiver; null when nobody answered."
    )
    told = serializers.CharField()
