from django.apps import AppConfig
from django.db.models.signals import post_migrate


class OmarinoConfig(AppConfig):
    name = "omarino"
    verbose_name = "People"

    def ready(self) -> None:
        from omarino import checks, openapi, row_security, signing_in  # noqa: F401  they register themselves

        post_migrate.connect(row_security.build_after_migration, sender=self)
