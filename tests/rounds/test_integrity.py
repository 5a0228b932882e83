import os
import time

import pytest

from catalog import integrity
from rounds import outputs, transitions
from rounds.models import Stage
from rounds.stages import train


@pytest.fixture
def killed_once(campaign, project, label, claimed):
    """A training that is in its second attempt; the first one left a log, hours ago."""
    label(project.images.first())
    stage = claimed(campaign, "train")
    path = outputs.folder_for(stage) / "log.txt"
    path.write_text("killed")
    os.utime(path, (time.time() - 9999,) * 2)
    transitions.fail(stage, "killed", may_pass=True)
    return transitions.claim(stage.pk)


def test_what_an_attempt_left_is_kept_while_the_stage_may_need_it(killed_once):
    assert not list(integrity.faults())

    transitions.fail(killed_once, "broken", may_pass=False)

    assert not list(integrity.faults())


def test_what_an_earlier_attempt_left_can_go_once_the_stage_is_done(killed_once, fake_ml):
    train.run(killed_once)

    (fault,) = integrity.faults()
    assert fault.startswith(f"stages/{killed_once.pk}/attempt-1/log.txt belongs to no row")
    assert list(integrity.remove_left_overs()) == [f"stages/{killed_once.pk}/attempt-1/log.txt"]
    assert not list(integrity.faults())


def test_a_stage_that_ends_while_left_overs_are_sought_loses_nothing(killed_once, fake_ml, monkeypatch):
    """Claims that were read before the stage was done would know nothing of its files."""
    whole = integrity.all_claims

    def ended_meanwhile():
        train.run(killed_once)
        for one in killed_once.files.all():
            os.utime(integrity.files.absolute(one.path), (time.time() - 9999,) * 2)
        return whole()

    monkeypatch.setattr(integrity, "all_claims", ended_meanwhile)

    assert not list(integrity.left_overs())


def test_the_folder_of_a_stage_that_is_gone_belongs_to_no_row(killed_once):
    Stage.objects.all().delete()

    assert list(integrity.left_overs()) == [f"stages/{killed_once.pk}/attempt-1/log.txt"]


def test_a_file_that_a_stage_left_and_is_missing_is_found(killed_once, fake_ml):
    train.run(killed_once)
    integrity.files.absolute(killed_once.files.get(name="b.pt").path).unlink()

    assert [fault for fault in integrity.faults() if "b.pt is missing. Restore it from a backup." in fault]
