import pytest
from django.utils import timezone

from config.doctor import Mark
from rounds import health, transitions
from rounds.models import Campaign, Round, Stage, Status


def sentences(mark: Mark) -> list[str]:
    return [one.says for one in health.stages() if one.mark is mark]


@pytest.fixture
def long_ago():
    """Let what happened to a round's stages have happened an hour ago."""

    def make(one: Round) -> None:
        hour_ago = timezone.now() - timezone.timedelta(hours=1)
        Round.objects.filter(pk=one.pk).update(opened_at=hour_ago)
        one.stages.update(finished_at=hour_ago)
        for stage in one.stages.all():
            stage.events.update(at=hour_ago)

    return make


def test_a_campaign_that_goes_on_is_fine(campaign, open_round):
    open_round(campaign, "prepare", "train")

    assert sentences(Mark.FINE) == ["1 campaigns are open, none is stuck."]


def test_a_failed_stage_is_told_with_its_reason(campaign, claimed):
    transitions.fail(claimed(campaign), "no image has a label", may_pass=False)

    assert sentences(Mark.BROKEN) == ["campaign 1, round 1: prepare 0 failed: no image has a label"]


def test_a_stage_whose_worker_fell_silent_and_that_no_sweep_took_is_told(campaign, claimed, silent):
    stage = claimed(campaign)
    silent(stage, 100)
    assert not sentences(Mark.BROKEN)  # the sweep may still come

    silent(stage, 1000)

    [said] = sentences(Mark.BROKEN)
    assert "prepare 0 has shown no sign of life since" in said


def test_a_stage_that_nobody_takes_is_told(campaign, open_round, long_ago):
    one = open_round(campaign, "prepare", "train", done=1)
    assert not sentences(Mark.BROKEN)  # it has only just become due

    long_ago(one)

    assert sentences(Mark.BROKEN) == ["campaign 1, round 1: train 1 is due and nobody takes it."]


def test_a_training_behind_another_one_waits_rightly(project, make_campaign, open_round, long_ago, claimed):
    long_ago(open_round(make_campaign(project), "train"))
    assert sentences(Mark.BROKEN)

    claimed(make_campaign(project), "train")

    assert not sentences(Mark.BROKEN)


def test_a_campaign_that_does_not_begin_is_told(campaign):
    Campaign.objects.update(created_at=timezone.now() - timezone.timedelta(hours=1))

    assert sentences(Mark.BROKEN) == ["campaign 1 has not begun."]


def test_a_closed_campaign_is_nobodys_worry(campaign, claimed):
    transitions.fail(claimed(campaign), "no image has a label", may_pass=False)
    Campaign.objects.update(closed_at=timezone.now())

    assert Stage.objects.filter(status=Status.FAILED).exists()
    assert not sentences(Mark.BROKEN)
