from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """The installation."""

    name = "config"

    def ready(self) -> None:
        from config import checks  # noqa: F401  registers them
