from django.apps import AppConfig


class AnomaliesConfig(AppConfig):
    name = "anomalies"
    verbose_name = "Anomalies"

    def ready(self) -> None:
        from registry.training import register_trainer

        register_trainer("device_detector", "anomalies.device_training.train")
