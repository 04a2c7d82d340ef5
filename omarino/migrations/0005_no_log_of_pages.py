"""Django's log of the pages is written no more. What it holds names people and things, also those that were deleted since,
which no erasure of their tenant can find; who changed what is in the audit."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("omarino", "0004_audit_erasure"), ("admin", "0003_logentry_add_action_flag_choices")]

    operations = [migrations.RunSQL("DELETE FROM django_admin_log", migrations.RunSQL.noop)]
