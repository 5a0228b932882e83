import threading
import time

import pytest

from rounds import transitions
from rounds.models import Stage, StageEvent, Status


def test_a_pending_stage_is_claimed_once(campaign, open_round):
    stage = open_round(campaign, "prepare").stages.get()

    first, second = transitions.claim(stage.pk), transitions.claim(stage.pk)

    assert first is not None
    assert (first.status, first.attempt) == (Status.RUNNING, 1)
    assert second is None
    assert [event.after for event in stage.events.all()] == [Status.RUNNING]


def test_a_stage_waits_for_the_stages_before_it(campaign, open_round):
    one = open_round(campaign, "prepare", "train")

    assert transitions.claim(one.stages.get(position=1).pk) is None


def test_a_stage_that_is_not_pending_is_not_claimed(campaign, open_round):
    stage = open_round(campaign, "prepare").stages.get()
    transitions.cancel(stage, "anna")

    assert transitions.claim(stage.pk) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_claims_a_stage(campaign, open_round, in_threads):
    stage = open_round(campaign, "prepare").stages.get()

    claims = in_threads(lambda: transitions.claim(stage.pk), count=8)

    assert len([claim for claim in claims if claim is not None]) == 1
    assert StageEvent.objects.filter(stage=stage).count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_control_that_checks_and_then_acts_is_claimed_twice(campaign, open_round, in_threads):
    stage = open_round(campaign, "prepare").stages.get()
    both_have_looked = threading.Barrier(2)

    def check_then_act() -> bool:
        if Stage.objects.get(pk=stage.pk).status != Status.PENDING:
            return False
        both_have_looked.wait(timeout=10)
        time.sleep(0.01)
        Stage.objects.filter(pk=stage.pk).update(status=Status.RUNNING)
        return True

    assert in_threads(check_then_act) == [True, True]
