from django.apps import AppConfig


class RoundsConfig(AppConfig):
    """What happens and what it leaves."""

    name = "rounds"
