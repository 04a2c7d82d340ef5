from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class FeaturesConfig(AppConfig):
    name = "features"
    verbose_name = "Readings"

    def ready(self) -> None:
        from features import checks  # noqa: F401  registers itself

        post_migrate.connect(keep_policies, sender=self)


def keep_policies(using: str, **_: Any) -> None:
    """After every migration, and so at every deployment, the database is told what the settings say."""
    from features import aggregates, retention

    connection = connections[using]
    if aggregates.are_there(connection):
        retention.apply_policies(connection)
