from uuid import uuid4

import pytest

from annotation.client import LabelStudio
from annotation.label_config import label_config
from annotation.masks import named

CLASSES = ["scratch", "patch"]


@pytest.fixture
def remote(label_studio):
    """A connection to the real Label Studio, as its administrator."""
    with LabelStudio(label_studio.url, label_studio.token) as client:
        yield client


@pytest.fixture
def project(remote):
    """A project of the test's own."""
    return remote.create_project(f"annotation {uuid4().hex[:8]}", label_config=label_config(named(CLASSES)))
