from django.db import migrations

from features.timescale import make_hypertables


def forwards(apps, schema_editor):
    make_hypertables(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("features", "0001_initial")]

    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
