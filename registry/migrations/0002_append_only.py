"""Transitions are written once: the database refuses to change or delete them."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION registry_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'registry_transition is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER registry_append_only BEFORE UPDATE OR DELETE ON registry_transition
    FOR EACH ROW EXECUTE FUNCTION registry_refuse_change();
"""
BACKWARD = """
DROP TRIGGER registry_append_only ON registry_transition;
DROP FUNCTION registry_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
