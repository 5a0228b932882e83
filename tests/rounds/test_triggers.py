from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from rounds import campaigns, schedule, tasks
from rounds.models import Campaign, Round, Status


@pytest.fixture
def waiting(open_round, label):
    """A campaign whose round 1 waits for people about three images."""

    def make(campaign: Campaign, *, number: int = 1) -> Round:
        one = open_round(
            campaign, "acquire", "annotate", number=number, settings={0: {"strategy": "random_scenes", "count": 3}}
        )
        for stage in one.stages.all():
            tasks.work(stage.pk)
        assert one.stages.last().status == Status.WAITING
        return one

    return make


def test_enough_new_labels_open_the_next_round(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, label_trigger=2, max_rounds=9)
    waiting(campaign)

    answer(campaign, 1)
    schedule.advance(campaign.pk)
    assert campaign.rounds.count() == 1

    answer(campaign, 1)
    schedule.advance(campaign.pk)
    assert campaign.rounds.last().opened_because == "2 new labels, 2 were asked for"


def test_the_first_batch_is_not_cut_short_by_a_trigger(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, label_trigger=1, clock="* * * * *")
    waiting(campaign, number=0)
    answer(campaign, 2)

    schedule.advance(campaign.pk)

    assert campaign.rounds.count() == 1


def test_waiting_for_more_labels_than_were_asked_for_ends_when_all_are_answered(
    make_campaign, project, waiting, answer
):
    campaign = make_campaign(project, label_trigger=100, max_rounds=9)
    waiting(campaign)
    answer(campaign)

    schedule.advance(campaign.pk)

    assert campaign.rounds.last().opened_because == "every question of round 1 is answered"


def test_a_campaign_with_a_clock_waits_for_it(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, clock="0 2 * * *", max_rounds=9)
    waiting(campaign)
    answer(campaign)

    schedule.advance(campaign.pk)

    assert campaign.rounds.count() == 1
    assert campaign.rounds.get().stages.last().status == Status.DONE


def test_a_missed_time_of_the_clock_catches_up_once(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, clock="0 2 * * *", max_rounds=9)
    waiting(campaign)
    answer(campaign, 1)
    Campaign.objects.filter(pk=campaign.pk).update(clock_seen_at=timezone.now() - timedelta(days=5))

    tasks.sweep()
    second = campaign.rounds.last()
    second.stages.update(status=Status.DONE)
    answer(campaign, 1)
    tasks.sweep()

    assert second.opened_because == "the clock (0 2 * * *), with 1 new labels"
    assert campaign.rounds.count() == 2


@pytest.mark.django_db(transaction=True)
def test_labels_clock_and_a_click_at_the_same_moment_open_one_round(
    make_campaign, project, waiting, answer, anna, in_threads
):
    campaign = make_campaign(project, label_trigger=2, clock="* * * * *", max_rounds=9)
    waiting(campaign)
    answer(campaign, 2)
    Campaign.objects.update(clock_seen_at=timezone.now() - timedelta(days=1))
    # Twice each: heard by a new label and by the minute's sweep; clicked by somebody impatient.
    asked = iter([lambda: schedule.advance(campaign.pk), lambda: schedule.start_round(campaign, anna)] * 2)

    def ask():
        return next(asked)()

    came_of_it = in_threads(ask, count=4)

    assert not [one for one in came_of_it if isinstance(one, Exception)]
    assert campaign.rounds.count() == 2


def test_a_night_without_a_new_label_trains_nothing_and_is_over(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, clock="0 2 * * *", max_rounds=9)
    waiting(campaign)
    Campaign.objects.filter(pk=campaign.pk).update(clock_seen_at=timezone.now() - timedelta(days=2))

    tasks.sweep()
    answer(campaign, 1)
    tasks.sweep()

    assert campaign.rounds.count() == 1


def test_a_new_clock_counts_from_now(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, label_trigger=100, max_rounds=9)
    waiting(campaign)
    answer(campaign, 1)
    Campaign.objects.filter(pk=campaign.pk).update(clock_seen_at=timezone.now() - timedelta(days=5))

    campaigns.set_triggers(campaign, label_trigger=100, clock="0 2 * * *")
    schedule.advance(campaign.pk)

    assert campaign.rounds.count() == 1


def test_without_triggers_an_answered_batch_opens_the_next_round(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, max_rounds=9)
    waiting(campaign)
    answer(campaign)

    schedule.advance(campaign.pk)

    assert campaign.rounds.last().opened_because == "round 1 is complete"


def test_the_rule_takes_its_time_from_outside(make_campaign, project, waiting, answer):
    campaign = make_campaign(project, clock="0 2 * * *", max_rounds=9)
    waiting(campaign)
    answer(campaign, 1)
    campaign.clock_seen_at = datetime(2026, 1, 1, 12, tzinfo=UTC)

    assert schedule.why_open_next_round(campaign, now=datetime(2026, 1, 2, 1, 59, tzinfo=UTC)) is None
    assert "the clock" in schedule.why_open_next_round(campaign, now=datetime(2026, 1, 2, 2, tzinfo=UTC))
