"""An import in a process of its own, on the test database, as a worker or the command runs it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from django.db import connection

from catalog.importing import create_import, run_import
from catalog.integrity import faults
from catalog.models import Image, Import, Label, Project, Scene
from config.environment import ROOT
from ml import synthetic

pytestmark = pytest.mark.django_db(transaction=True)

RUN = "from catalog.importing import run_import; run_import({})"


@pytest.fixture
def elsewhere(settings, tmp_path):
    """Start Python code in another process that sees our test database and our files."""
    settings.DATA_DIR = tmp_path / "state" / "data"
    started = []

    def elsewhere(code):
        known = connection.settings_dict
        address = f"postgres://{known['USER']}@/{known['NAME']}?host={known['HOST']}"
        environment = {**os.environ, "BURNISH_DATABASE_URL": address, "BURNISH_STATE": str(tmp_path / "state")}
        process = subprocess.Popen([sys.executable, "manage.py", "shell", "-c", code], cwd=ROOT, env=environment)
        started.append(process)
        return process

    yield elsewhere
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def running(elsewhere, tmp_path):
    """An import of 500 images, in another process, of which some are in."""
    synthetic.generate(tmp_path / "source", images=500, size=48, seed=2)
    one = create_import(Project.objects.create(name="strip"), tmp_path / "source")
    process = elsewhere(RUN.format(one.pk))
    _wait_until(Image.objects.exists)
    return one, process


def _wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _run_until_over(one):
    # The killed process's lock goes when the server notices that its connection is closed.
    def over():
        run_import(one.pk)
        one.refresh_from_db()
        return one.status not in {"pending", "running"}

    _wait_until(over)


def test_an_import_that_was_killed_goes_on_and_counts_every_image_once(running):
    one, process = running

    process.send_signal(signal.SIGKILL)
    process.wait()
    in_before = Image.objects.count()
    _run_until_over(one)

    assert 0 < in_before < 500  # otherwise it was not killed in the middle
    assert (one.status, one.imported, one.already_there, one.refused.count()) == ("done", 500, 0, 0)
    assert (Image.objects.count(), Label.objects.count(), Scene.objects.count()) == (500, 500, 375)
    assert not list(faults())


def test_while_one_process_imports_another_one_waits_outside(running):
    one, process = running
    second = Import.objects.create(project=one.project, source=one.source)

    run_import(one.pk)
    run_import(second.pk)
    ours = Image.objects.count()
    second.refresh_from_db()

    assert ours < 500  # we returned before the other process was through
    assert second.status == "pending"
    assert process.wait(timeout=60) == 0
    assert Image.objects.count() == 500
