"""A worker is killed in the middle of a training: the next one goes on, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from catalog.integrity import faults
from config.environment import ROOT
from ml.spec import STATE
from rounds import outputs, tasks, transitions
from rounds.models import Stage, Status

WORKER = """
import sys
from pathlib import Path
from types import SimpleNamespace
import django
from django.conf import settings

database, data, ml, stage = sys.argv[1:]
settings.DATABASES["default"]["NAME"] = database
settings.DATA_DIR = Path(data)
django.setup()
from rounds import ml_process, tasks
ml_process.sys = SimpleNamespace(executable=ml)
tasks.work(int(stage))
"""


@pytest.mark.timeout(280)
@pytest.mark.django_db(transaction=True)
def test_the_stage_of_a_killed_worker_goes_on_from_its_state_when_it_is_claimed_again(
    make_campaign, project, label, open_round, data_dir, ml_through, silent, wait_until, processes_in
):
    label(project.images.first())
    stage = open_round(make_campaign(project, overrides={"steps": 60}), "train").stages.get()
    ml = ml_through("$ml --save-every 0")
    first = data_dir / "stages" / str(stage.pk) / "attempt-1"
    arguments = [connection.settings_dict["NAME"], str(data_dir), str(ml), str(stage.pk)]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/platform"},
    )

    assert wait_until((first / STATE).exists, seconds=120)
    worker.kill()
    worker.wait()
    assert wait_until(lambda: not processes_in(str(first)), seconds=20)
    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.RUNNING, 1)
    silent(stage, 61)
    tasks.sweep()
    tasks.work(stage.pk)

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.DONE, 2)
    (note,) = stage.result["notes"]
    assert note.startswith("resumed at step "), note
    assert stage.progress["note"] == note
    assert {"checkpoint-1.pt", "checkpoint-2.pt", "checkpoint-3.pt", "log.txt"} <= {
        one.name for one in stage.files.all()
    }
    assert STATE not in {one.name for one in stage.files.all()}
    assert {Path(one.path).parts[2] for one in stage.files.all()} == {"attempt-2"}
    assert not list(faults())


def _leave_state(stage: Stage, content: bytes) -> None:
    (outputs.folder_for(stage) / STATE).write_bytes(content)


def _next_attempt(stage: Stage) -> Stage:
    transitions.fail(stage, "killed", may_pass=True)
    claimed = transitions.claim(stage.pk)
    assert claimed is not None
    return claimed


def test_an_attempt_takes_the_latest_state_over(campaign, claimed, fake_ml):
    first = claimed(campaign, "train")
    _leave_state(first, b"first")
    second = _next_attempt(first)
    _leave_state(second, b"second")
    third = _next_attempt(second)

    outputs._take_over(third, "", outputs.folder_for(third))

    assert (outputs.folder_for(third) / STATE).read_bytes() == b"second"


def test_what_still_runs_in_an_earlier_folder_cannot_touch_the_state_that_was_taken_over(campaign, claimed):
    first = claimed(campaign, "train")
    _leave_state(first, b"at step 5")
    second = _next_attempt(first)
    outputs._take_over(second, "", outputs.folder_for(second))

    _leave_state(first, b"of a worker that was thought dead")
    outputs._take_over(first, "", outputs.folder_for(first))

    assert (outputs.folder_for(second) / STATE).read_bytes() == b"at step 5"
