"""The connection to Label Studio: the one seam that unit tests fake."""

from django.conf import settings

from annotation.client import LabelStudio


def client() -> LabelStudio:
    """A connection with the administrator's token; close it, or use it in `with`."""
    return LabelStudio(settings.LABEL_STUDIO_URL, settings.LABEL_STUDIO_TOKEN)
