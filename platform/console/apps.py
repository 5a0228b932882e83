from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class ConsoleConfig(AppConfig):
    """Pages."""

    name = "console"

    def ready(self) -> None:
        from console.roles import make_groups  # models are not there before

        # Not ours: Django sends it for apps with models only. This is the last one of them.
        post_migrate.connect(make_groups, sender=apps.get_app_config("labelling"))
