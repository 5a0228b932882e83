from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Pages."""

    name = "console"
