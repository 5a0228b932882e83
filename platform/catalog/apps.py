from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """What exists."""

    name = "catalog"
