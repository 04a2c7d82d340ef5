"""An erasure takes all records of a tenant or none."""

from pathlib import Path

from django.db import migrations

FORWARD = (Path(__file__).parent.parent / "sql" / "audit_erasure.sql").read_text()
BACKWARD = """
DROP TRIGGER audit_all_or_none ON audit_records;
DROP FUNCTION audit_refuse_part(), audit_hold(varchar);
"""


class Migration(migrations.Migration):
    dependencies = [("omarino", "0003_provider_sessions")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
