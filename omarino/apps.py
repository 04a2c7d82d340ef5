from django.apps import AppConfig


class OmarinoConfig(AppConfig):
    name = "omarino"
    verbose_name = "People"

    def ready(self) -> None:
        from omarino import checks, openapi  # noqa: F401  both register themselves
