import subprocess

from config import processes
from rounds import tasks, transitions
from rounds.models import Stage, Status


def test_a_stage_whose_heartbeat_is_lost_goes_back_to_pending(campaign, claimed, silent):
    stage = claimed(campaign)
    silent(stage, 61)

    tasks.sweep()

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.PENDING, 1)
    assert "no sign of life" in stage.events.last().reason


def test_a_stage_whose_worker_process_has_ended_goes_back_at_once(campaign, claimed):
    stage = claimed(campaign)
    with subprocess.Popen(["sleep", "60"]) as worker:
        Stage.objects.filter(pk=stage.pk).update(worker=processes.read(worker.pid).address)
        tasks.sweep()
        stage.refresh_from_db()
        assert stage.status == Status.RUNNING, "it lives, and has just been heard of"
        worker.kill()

    tasks.sweep()

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.PENDING, 1)
    assert "its worker has ended" in stage.events.last().reason


def test_of_workers_on_other_machines_only_the_heartbeat_counts(campaign, claimed):
    stage = claimed(campaign)
    Stage.objects.filter(pk=stage.pk).update(worker="another-machine/1/1")

    tasks.sweep()

    stage.refresh_from_db()
    assert stage.status == Status.RUNNING


def test_a_process_number_that_is_used_again_is_another_process():
    host, pid, started = processes.my_address().split("/")

    assert not processes.is_gone(f"{host}/{pid}/{started}")
    assert processes.is_gone(f"{host}/{pid}/{int(started) - 1}")


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
