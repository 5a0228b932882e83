from datetime import timedelta

import pytest
from django.utils import timezone

from rounds import schedule, tasks
from rounds.models import Campaign, Stage, Status


@pytest.fixture
def annotate(campaign) -> Stage:
    """Round 0, waiting for people about four images."""
    schedule.advance(campaign.pk)
    for stage in campaign.rounds.get().stages.all():
        tasks.work(stage.pk)
    return campaign.rounds.get().stages.get(kind="annotate")


def status(stage: Stage) -> str:
    return Stage.objects.get(pk=stage.pk).status


def test_a_stage_waits_until_all_is_answered(campaign, annotate, answer):
    answer(campaign, 3)
    schedule.advance(campaign.pk)
    assert status(annotate) == Status.WAITING

    answer(campaign, 1)
    schedule.advance(campaign.pk)
    assert status(annotate) == Status.DONE


def test_an_image_about_which_people_could_not_say_counts_as_answered(campaign, annotate, answer):
    answer(campaign, 3)
    schedule.open_questions(campaign).update(skipped_at=timezone.now())

    schedule.advance(campaign.pk)

    annotate.refresh_from_db()
    assert annotate.result == {"asked": 4, "answered": 3, "skipped": 1}


def test_a_share_of_the_answers_can_be_enough(campaign, annotate, answer):
    Campaign.objects.filter(pk=campaign.pk).update(enough_share=0.7)
    answer(campaign, 3)

    schedule.advance(campaign.pk)

    assert status(annotate) == Status.DONE


@pytest.mark.parametrize(("answers", "expected"), [(0, Status.WAITING), (1, Status.DONE)])
def test_a_deadline_ends_the_waiting_once_there_is_an_answer(campaign, annotate, answer, answers, expected):
    Campaign.objects.filter(pk=campaign.pk).update(enough_hours=2)
    Stage.objects.filter(pk=annotate.pk).update(started_at=timezone.now() - timedelta(hours=3))
    answer(campaign, answers)

    schedule.advance(campaign.pk)

    assert status(annotate) == expected


def test_a_late_answer_is_trained_on_in_the_next_round(campaign, annotate, answer, anna):
    answer(campaign, 2)
    schedule.start_round(campaign, anna)

    answer(campaign, 2)

    assert campaign.labels().count() == 4


def test_a_stage_with_nothing_to_ask_is_done_at_once(campaign, open_round):
    one = open_round(campaign, "annotate")

    tasks.work(one.stages.get().pk)

    assert status(one.stages.get()) == Status.DONE
