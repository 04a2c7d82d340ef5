"""The secrets of webhooks, sealed. The column stays where it was; texts take the place of its 64 characters."""

from typing import Any

from django.db import migrations

import anomalies.models
import omarino.sealing
from omarino.sealing import seal, unseal


def rewrite(how: Any) -> Any:
    def rows_of(apps: Any, schema_editor: Any) -> None:
        watches = apps.get_model("anomalies", "Watch").objects.using(schema_editor.connection.alias)
        for pk, kept in watches.values_list("pk", "sealed_secret").iterator():
            watches.filter(pk=pk).update(sealed_secret=how(kept))

    return rows_of


class Migration(migrations.Migration):
    dependencies = [("anomalies", "0002_watches")]

    operations = [
        migrations.AlterField(
            model_name="watch",
            name="webhook_secret",
            field=omarino.sealing.SealedField(
                db_column="webhook_secret", default=anomalies.models.new_sealed_secret, editable=False
            ),
        ),
        migrations.RenameField(model_name="watch", old_name="webhook_secret", new_name="sealed_secret"),
        migrations.RunPython(rewrite(seal), rewrite(unseal)),
    ]
