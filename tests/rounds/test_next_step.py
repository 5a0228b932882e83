import pytest
from django.utils import timezone

from rounds import schedule, tasks, transitions
from rounds.models import Stage, Status


@pytest.fixture
def in_people_s_hands(open_round):
    def make(campaign, number):
        one = open_round(
            campaign, "acquire", "annotate", number=number, settings={0: {"strategy": "random_scenes", "count": 4}}
        )
        for stage in one.stages.all():
            tasks.work(stage.pk)
        return one

    return make


def test_the_first_step_is_to_label(campaign, in_people_s_hands, answer):
    in_people_s_hands(campaign, 0)
    answer(campaign, 1)

    assert schedule.next_step(campaign) == "label 3 images first"


def test_the_next_training_is_told_in_labels_and_by_the_clock(make_campaign, project, in_people_s_hands, answer):
    campaign = make_campaign(project, label_trigger=3, clock="0 2 * * *")
    in_people_s_hands(campaign, 1)
    answer(campaign, 2)

    assert schedule.next_step(campaign) == "next training: 1 more label, or 02:00"


def test_a_campaign_that_waits_for_its_clock_says_so(make_campaign, project, open_round):
    campaign = make_campaign(project, clock="30 4 * * *")
    open_round(campaign, "annotate", done=1)

    assert schedule.next_step(campaign) == "next training: 04:30, once there is a new label"


def test_a_running_round_names_its_stage(campaign, open_round):
    open_round(campaign, "prepare", "train", done=1)

    assert schedule.next_step(campaign) == "training: round 1, train 1"


def test_a_failed_stage_asks_for_a_person(campaign, claimed):
    stage = claimed(campaign, "train")
    transitions.fail(stage, "broken", may_pass=False)

    assert schedule.next_step(campaign) == "train 0 failed: see why in round 1, then retry or cancel it"


def test_a_cancelled_round_says_what_can_be_done(campaign, open_round):
    one = open_round(campaign, "prepare", "annotate")
    Stage.objects.filter(round=one).update(status=Status.CANCELLED)

    assert schedule.next_step(campaign) == "round 1 was cancelled: retry it or start the next"


def test_a_closed_campaign_is_finished(campaign):
    campaign.closed_at = timezone.now()

    assert schedule.next_step(campaign) == "finished"
