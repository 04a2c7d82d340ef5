from django.db import migrations

from features.aggregates import drop_objects, make_objects
from features.timescale import make_hypertables


def forwards(apps, schema_editor):
    make_hypertables(schema_editor.connection)
    make_objects(schema_editor.connection)


def backwards(apps, schema_editor):
    drop_objects(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("features", "0005_revisions_sets_and_stored_features")]

    operations = [migrations.RunPython(forwards, backwards)]
