"""The real `ml` in trouble: the stage says why in a sentence, and what to do; after that it goes on."""

import pytest

from catalog import files
from rounds import campaigns, tasks
from rounds.models import Stage, Status

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def work(make_campaign, project, label, open_round):
    """Run a training stage on one label, with these values over the recipe's."""
    label(project.images.first())

    def run(**overrides) -> Stage:
        one = open_round(make_campaign(project, overrides=overrides), "train")
        return again(one.stages.get())

    return run


def again(stage: Stage) -> Stage:
    tasks.work(stage.pk)
    stage.refresh_from_db()
    return stage


def test_a_full_disk_sends_it_back_and_once_there_is_room_it_goes_on(work, ml_through, data_dir, monkeypatch):
    ml_through("ln -s /dev/full $4/.checkpoint-2.pt.tmp 2>/dev/null\n$ml --save-every 0")
    stage = work(steps=6)
    assert (stage.status, stage.attempt) == (Status.PENDING, 1)
    assert stage.error.startswith("ml train: the disk is full; make room and start it again, it goes on")

    ml_through("$ml")
    again(stage)

    assert stage.status == Status.DONE
    assert stage.result["notes"] == ["resumed at step 3 of 6"]


def test_a_file_cut_short_is_named_and_once_it_is_replaced_a_retry_succeeds(work, project, anna):
    path = files.absolute(project.images.first().view)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    stage = work(steps=2)
    assert stage.status == Status.FAILED
    assert stage.error.startswith(f"image {path}: cannot be read")
    assert stage.error.endswith("replace the file")

    path.write_bytes(whole)
    campaigns.retry_round(stage.round, anna)
    again(stage)

    assert (stage.status, stage.error) == (Status.DONE, "")


def test_a_loss_that_is_no_number_says_what_to_lower(work):
    stage = work(steps=20, learning_rate=1e30)

    assert stage.status == Status.FAILED
    assert "expected a finite loss, got nan" in stage.error
    assert "lower learning_rate" in stage.error


def test_too_little_memory_says_what_to_lower(work, ml_through):
    ml_through("ulimit -v 2500000\n$ml")  # KiB: torch itself takes one of the two and a half GB

    stage = work(steps=2, crop=8192)

    assert stage.status == Status.FAILED
    assert stage.error.startswith("ml train: out of memory; lower batch, crop or the network's width")


def test_a_setting_that_does_not_exist_is_told_with_the_sentence_of_ml_and_its_log(work):
    stage = work(step="magic")

    assert stage.status == Status.FAILED
    assert "step: expected one of supervised" in stage.error
    assert stage.error in stage.log_tail
