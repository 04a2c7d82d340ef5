from django.apps import AppConfig


class ForecastingConfig(AppConfig):
    name = "forecasting"

    def ready(self) -> None:
        from forecasting.quality_metrics import QualityCollector
        from omarino.scraping import OF_APPS

        OF_APPS.append(QualityCollector())
