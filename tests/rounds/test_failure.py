import pytest

from rounds import campaigns, tasks, transitions
from rounds.ml_process import MlFailed
from rounds.models import Status
from rounds.stages import RUNNERS


@pytest.fixture
def run_with(campaign, open_round, monkeypatch):
    """Run a stage whose runner raises."""

    def run(error: Exception):
        def runner(stage) -> None:
            raise error

        monkeypatch.setitem(RUNNERS, "train", runner)
        stage = open_round(campaign, "train").stages.get()
        tasks.work(stage.pk)
        stage.refresh_from_db()
        return stage

    return run


def test_a_failed_stage_shows_why_with_its_log_tail(run_with):
    stage = run_with(MlFailed("the mask is torn", log_tail="line 1\nthe mask is torn", may_pass=False))

    assert (stage.status, stage.error) == (Status.FAILED, "the mask is torn")
    assert stage.log_tail == "line 1\nthe mask is torn"
    assert stage.events.last().reason == "the mask is torn"


def test_an_error_that_may_pass_sends_the_stage_back(run_with):
    stage = run_with(OSError("No space left on device"))

    assert (stage.status, stage.error) == (Status.PENDING, "No space left on device")


def test_an_error_that_may_pass_is_final_after_the_last_attempt(run_with):
    stage = run_with(OSError("No space left on device"))

    for _ in range(transitions.ATTEMPTS - 1):
        tasks.work(stage.pk)

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.FAILED, transitions.ATTEMPTS)


def test_a_fault_of_ours_is_final_at_once(run_with):
    stage = run_with(KeyError("colour"))

    assert stage.status == Status.FAILED
    assert "colour" in stage.error


def test_a_retried_round_goes_on_with_the_stage_that_failed(run_with, anna):
    stage = run_with(ValueError("broken"))

    assert campaigns.retry_round(stage.round, anna) == 1

    stage.refresh_from_db()
    assert (stage.status, stage.error) == (Status.PENDING, "")
    assert stage.events.last().reason == "retried by anna"
    assert transitions.claim(stage.pk).attempt == 2
