from rounds import tasks, transitions
from rounds.models import StageEvent, Status
from rounds.stages import RUNNERS


def test_a_ring_for_a_stage_that_is_not_pending_does_nothing(campaign, claimed):
    stage = claimed(campaign)

    tasks.run_stage(stage.pk)

    stage.refresh_from_db()
    assert (stage.status, stage.attempt) == (Status.RUNNING, 1)
    assert stage.events.count() == 1


def test_a_ring_for_a_stage_that_is_gone_does_nothing(db):
    tasks.run_stage(123456)

    assert not StageEvent.objects.exists()


def test_trainings_are_rung_for_on_their_own_queue(campaign, open_round, rings, django_capture_on_commit_callbacks):
    stage = open_round(campaign, "train").stages.get()

    with django_capture_on_commit_callbacks(execute=True):
        tasks.advance(campaign.pk)

    assert rings == [("rounds.tasks.run_training_stage", stage.pk)]


def test_a_stage_that_ends_rings_for_the_next_one(
    campaign, open_round, rings, monkeypatch, django_capture_on_commit_callbacks
):
    one = open_round(campaign, "prepare", "train")
    monkeypatch.setitem(RUNNERS, "prepare", lambda stage: transitions.finish(stage, lambda: None, {}))

    with django_capture_on_commit_callbacks(execute=True):
        tasks.work(one.stages.get(position=0).pk)

    assert rings == [("rounds.tasks.run_training_stage", one.stages.get(position=1).pk)]


def test_people_are_told_when_a_stage_is_handed_out(campaign, rings, django_capture_on_commit_callbacks):
    tasks.advance(campaign.pk)
    acquire, annotate = campaign.rounds.get().stages.all()

    with django_capture_on_commit_callbacks(execute=True):
        tasks.work(acquire.pk)
        tasks.work(annotate.pk)

    assert ("labelling.tasks.push", campaign.pk) in rings


def test_a_broker_that_is_away_loses_a_ring_and_nothing_else(
    campaign, open_round, monkeypatch, django_capture_on_commit_callbacks
):
    from config import celery_app

    monkeypatch.setattr(celery_app.conf, "broker_url", "redis+socket:///nowhere/valkey.sock")
    stage = open_round(campaign, "prepare").stages.get()

    with django_capture_on_commit_callbacks(execute=True):
        tasks.advance(campaign.pk)

    stage.refresh_from_db()
    assert stage.status == Status.PENDING


def test_every_kind_that_a_recipe_names_has_a_runner():
    from ml.recipes import RECIPES

    assert {stage.kind for recipe in RECIPES.values() for stage in recipe.stages} <= set(RUNNERS)
