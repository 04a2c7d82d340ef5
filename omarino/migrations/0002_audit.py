"""The audit. Its tables are made by SQL, as Django knows neither their triggers nor their chain."""

import uuid
from pathlib import Path

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import omarino.audit_models

FORWARD = (Path(__file__).parent.parent / "sql" / "audit.sql").read_text()
BACKWARD = """
DROP TABLE audit_links, audit_records;
DROP FUNCTION audit_link(), audit_refuse(), audit_time(timestamptz), audit_digest(text[]);
"""


class Migration(migrations.Migration):
    dependencies = [("omarino", "0001_initial")]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.CreateModel(
            name="AuditRecord",
            fields=[
                ("tenant_id", models.CharField(editable=False, max_length=64)),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("outcome", models.CharField(choices=[("done", "Done"), ("refused", "Refused")], max_length=8)),
                ("verb", models.CharField(max_length=32)),
                ("kind", models.CharField(max_length=64)),
                ("object_id", models.CharField(max_length=255)),
                ("subject", models.CharField(max_length=255)),
                ("username", models.CharField(max_length=255)),
                ("before", models.CharField(max_length=64)),
                ("after", models.CharField(max_length=64)),
                ("facts", models.JSONField(default=dict)),
                ("request_id", models.CharField(max_length=128)),
                ("salt", models.CharField(default=omarino.audit_models.salt, max_length=32)),
            ],
            options={
                "verbose_name": "audit record",
                "db_table": "audit_records",
                "ordering": ["-at", "-id"],
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                ("tenant_id", models.CharField(editable=False, max_length=64)),
                (
                    "record",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="link",
                        serialize=False,
                        to="omarino.auditrecord",
                    ),
                ),
                ("number", models.PositiveBigIntegerField()),
                ("linked_at", models.DateTimeField()),
                ("content", models.CharField(max_length=64)),
                ("digest", models.CharField(max_length=64)),
            ],
            options={"db_table": "audit_links", "ordering": ["tenant_id", "number"], "managed": False},
        ),
    ]
