import threading
from contextlib import suppress

import pytest
from django.db.models import QuerySet

from rounds import schedule, tasks, transitions
from rounds.models import Round, Stage, Status


def kinds(one: Round) -> list[str]:
    return list(one.stages.values_list("kind", flat=True))


def end(one: Round) -> None:
    """Bring a round to its end without computing anything."""
    Stage.objects.filter(round=one).update(status=Status.DONE)


def test_round_0_asks_people_about_a_random_sample(campaign):
    schedule.advance(campaign.pk)

    one = campaign.rounds.get()
    assert (one.number, kinds(one)) == (0, ["acquire", "annotate"])
    assert one.stages.first().settings == {"strategy": "random_scenes", "count": 4}


def test_round_0_is_skipped_where_enough_labels_are_there(campaign, project, label):
    for image in project.images.filter(split="train")[:4]:
        label(image)

    schedule.advance(campaign.pk)

    assert campaign.rounds.get().number == 1


def test_round_0_asks_only_for_the_labels_that_are_missing(campaign, project, label):
    for image in project.images.filter(split="train")[:3]:
        label(image)

    schedule.advance(campaign.pk)

    assert campaign.rounds.get().stages.first().settings["count"] == 1


def test_a_training_round_has_the_stages_of_its_recipe(campaign, open_round):
    open_round(campaign, "annotate", number=0, done=1)

    schedule.advance(campaign.pk)

    one = campaign.rounds.last()
    assert kinds(one) == [stage["kind"] for stage in campaign.recipe["stages"]]
    assert one.stages.get(kind="acquire").settings["count"] == campaign.batch


def test_the_last_planned_round_asks_nobody_and_closes_the_campaign(campaign, open_round):
    open_round(campaign, "annotate", number=1, done=1)

    schedule.advance(campaign.pk)

    last = campaign.rounds.last()
    assert last.number == campaign.max_rounds == 2
    assert "acquire" not in kinds(last)
    assert "annotate" not in kinds(last)
    end(last)
    schedule.advance(campaign.pk)
    campaign.refresh_from_db()
    assert campaign.closed_at is not None
    assert campaign.rounds.count() == 2


def test_a_spent_budget_ends_the_asking_and_then_the_campaign(make_campaign, project, answer):
    campaign = make_campaign(project, budget=4, max_rounds=5)
    schedule.advance(campaign.pk)
    for stage in campaign.rounds.get().stages.all():
        tasks.work(stage.pk)
    answer(campaign)

    schedule.advance(campaign.pk)

    last = campaign.rounds.last()
    assert last.number == 1
    assert "annotate" not in kinds(last)
    end(last)
    schedule.advance(campaign.pk)
    campaign.refresh_from_db()
    assert campaign.closed_at is not None


def test_a_round_asks_for_what_is_left_of_the_budget(make_campaign, project, answer):
    campaign = make_campaign(project, budget=5, max_rounds=5)
    schedule.advance(campaign.pk)
    for stage in campaign.rounds.get().stages.all():
        tasks.work(stage.pk)
    answer(campaign)

    schedule.advance(campaign.pk)

    assert campaign.rounds.last().stages.get(kind="acquire").settings["count"] == 1


def test_advancing_twice_changes_nothing(campaign):
    schedule.advance(campaign.pk)
    schedule.advance(campaign.pk)

    assert campaign.rounds.count() == 1


def test_nothing_opens_while_a_round_computes(campaign, open_round, anna):
    open_round(campaign, "prepare", "train", done=1)

    assert schedule.start_round(campaign, anna) is None
    assert campaign.rounds.count() == 1


def test_a_person_starts_the_next_round_with_the_answers_that_are_there(campaign, answer, anna):
    schedule.advance(campaign.pk)
    for stage in campaign.rounds.get().stages.all():
        tasks.work(stage.pk)
    answer(campaign, 3)

    opened = schedule.start_round(campaign, anna)

    assert (opened.number, opened.opened_because) == (1, "started by anna")
    waiting = campaign.rounds.first().stages.last()
    assert waiting.status == Status.DONE
    assert waiting.result == {"asked": 4, "answered": 3, "skipped": 0}


def test_a_cancelled_round_opens_no_other_by_itself(campaign, open_round, anna):
    one = open_round(campaign, "prepare", "annotate")
    transitions.cancel(one.stages.first(), "anna")

    schedule.advance(campaign.pk)

    assert campaign.rounds.count() == 1
    assert schedule.start_round(campaign, anna).number == 2


def test_a_cancelled_last_round_leaves_the_campaign_open_for_a_retry(campaign, open_round):
    one = open_round(campaign, "prepare", number=campaign.max_rounds)
    transitions.cancel(one.stages.first(), "anna")

    schedule.advance(campaign.pk)

    campaign.refresh_from_db()
    assert campaign.closed_at is None


@pytest.fixture
def both_have_looked(monkeypatch):
    """Hold each thread after the rule has said yes, until the other has asked too or time is up."""
    barrier = threading.Barrier(2)
    rule = schedule.why_open_next_round

    def slow_rule(*args, **kwargs):
        reason = rule(*args, **kwargs)
        with suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=1)
        return reason

    monkeypatch.setattr(schedule, "why_open_next_round", slow_rule)


@pytest.mark.django_db(transaction=True)
def test_two_triggers_at_once_open_one_round(campaign, anna, in_threads, both_have_looked):
    opened = in_threads(lambda: schedule.start_round(campaign, anna))

    assert sorted(str(one) for one in opened) == ["None", f"{campaign}, round 0"]
    assert campaign.rounds.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_control_without_the_lock_opens_it_twice(campaign, anna, in_threads, both_have_looked, monkeypatch):
    monkeypatch.setattr(QuerySet, "select_for_update", lambda queryset, **_: queryset)

    opened = in_threads(lambda: schedule.start_round(campaign, anna))

    # Both tried; only the unique constraint stopped the second.
    assert [type(one).__name__ for one in opened if one is not None].count("IntegrityError") == 1
