from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """The installation."""

    name = "config"
