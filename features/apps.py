from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class FeaturesConfig(AppConfig):
    name = "features"
    verbose_name = "Readings"

    def ready(self) -> None:
        from features import checks  # noqa: F401  registers itself

        post_migrate.connect(keep_objects, sender=self)


def keep_objects(using: str, **_: Any) -> None:
    """After every migration, and so at every deployment: what is missing is made, and policies say what settings say."""
    from features import aggregates, retention  # models are not there before

    connection = connections[using]
    if "retention_cuts" in connection.introspection.table_names():
        aggregates.make_objects(connection)
        retention.apply_policies(connection)
