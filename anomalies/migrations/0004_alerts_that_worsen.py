"""What of an alert the receiver took, so that it is told once more when it becomes worse."""

from typing import Any

from django.db import migrations, models
from django.db.models import F, Q

SEVERITIES = [("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical")]


def fill(apps: Any, schema_editor: Any) -> None:
    alerts = apps.get_model("anomalies", "Alert").objects.using(schema_editor.connection.alias)
    alerts.filter(sending="delivered").update(told_severity=F("severity"))


class Migration(migrations.Migration):
    dependencies = [("anomalies", "0003_sealed_secrets")]

    operations = [
        migrations.AddField(
            model_name="alert",
            name="told_severity",
            field=models.CharField(blank=True, choices=SEVERITIES, default="", max_length=8),
            preserve_default=False,
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=Q(told_severity__in=["", "low", "medium", "high", "critical"]),
                name="anomalies_alert_told_known",
            ),
        ),
    ]
