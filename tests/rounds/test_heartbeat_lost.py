from rounds import tasks, transitions
from rounds.models import Status


def test_a_stage_whose_heartbeat_is_lost_goes_back_to_pending(campaign, claimed, silent):
    stage = claimed(campaign)
    silent(stage, 61)

    tasks.sweep()

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.PENDING, 1)
    assert "no sign of life" in stage.events.last().reason


def test_a_stage_that_beats_is_left_alone(campaign, claimed, silent):
    stage = claimed(campaign)
    silent(stage, 30)

    tasks.sweep()

    stage.refresh_from_db()
    assert stage.status == Status.RUNNING


def test_a_stage_that_beat_just_before_the_sweep_took_it_is_left_alone(campaign, claimed, silent):
    seen = claimed(campaign)
    silent(seen, 61)
    limit = seen.heartbeat_at + tasks.HEARTBEAT_LIMIT / 2
    transitions.beat(seen)

    assert not transitions.lose_heartbeat(seen, before=limit)


def test_a_stage_that_loses_every_worker_fails_in_the_end(campaign, claimed, silent):
    stage = claimed(campaign)
    for attempt in range(transitions.ATTEMPTS):
        if attempt:
            stage = transitions.claim(stage.pk)
        silent(stage, 61)
        tasks.sweep()

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.FAILED, transitions.ATTEMPTS)
    assert "no sign of life" in stage.error


def test_the_sweep_rings_for_a_stage_that_was_taken_back(
    campaign, claimed, silent, rings, django_capture_on_commit_callbacks
):
    stage = claimed(campaign)
    silent(stage, 61)

    with django_capture_on_commit_callbacks(execute=True):
        tasks.sweep()

    assert ("rounds.tasks.run_stage", stage.pk) in rings
