"""Sources on the disk, as users have them: drawn by ml.synthetic, then damaged where a test needs it."""

import json
import shutil

import numpy as np
import pytest
from celery.signals import before_task_publish
from PIL import Image as Picture

from catalog.importing import create_import, run_import
from catalog.models import Project
from ml import synthetic


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "data"
    return settings.DATA_DIR


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    synthetic.generate(folder, images=24, size=64, seed=1)
    return folder


@pytest.fixture
def source(generated, tmp_path):
    """A canonical folder of 24 images of which a test may change anything."""
    return shutil.copytree(generated, tmp_path / "source")


@pytest.fixture
def project(db):
    return Project.objects.create(name="strip")


@pytest.fixture
def benchmark(db):
    return Project.objects.create(name="strip benchmark", benchmark=True)


@pytest.fixture
def bring_in():
    """Import a source to its end; the finished row."""

    def bring_in(project, source, **options):
        one = create_import(project, source, **options)
        run_import(one.pk)
        one.refresh_from_db()
        return one

    return bring_in


@pytest.fixture
def picture():
    """A surface nobody else shows: (64, 64) uint8."""

    def picture(number):
        return synthetic.photograph(synthetic.Shot(number, 0), size=64, seed=99)[0]

    return picture


@pytest.fixture
def pictures(tmp_path, picture):
    """A folder of plain images, by name -> array."""

    def pictures(images, folder="plain"):
        root = tmp_path / folder
        for name, array in images.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Picture.fromarray(np.asarray(array)).save(path)
        return root

    return pictures


@pytest.fixture
def write_splits():
    def write_splits(path, **splits):
        path.write_text(json.dumps(splits))
        return path

    return write_splits


@pytest.fixture
def rung(stores):
    """(task, id) of every ring, as it reaches the broker."""
    heard = []

    def hear(sender, body, **_):
        heard.append((sender, body[0][0]))

    before_task_publish.connect(hear, weak=False)
    yield heard
    before_task_publish.disconnect(hear)
