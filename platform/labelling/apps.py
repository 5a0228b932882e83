from django.apps import AppConfig


class LabellingConfig(AppConfig):
    """People: Label Studio as outbox and inbox."""

    name = "labelling"
