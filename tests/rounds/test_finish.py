import pytest

from rounds import transitions
from rounds.models import Snapshot, Stage, Status


def leave_a_snapshot(stage: Stage) -> None:
    Snapshot.objects.create(stage=stage, digest="0" * 64, labelled=1, pseudo=0, items=[])


def test_a_stage_ends_together_with_the_rows_it_leaves(campaign, claimed):
    stage = claimed(campaign)

    transitions.finish(stage, lambda: leave_a_snapshot(stage), {"summary": "fine"})

    stage.refresh_from_db()
    assert (stage.status, stage.result) == (Status.DONE, {"summary": "fine"})
    assert Snapshot.objects.filter(stage=stage).exists()


@pytest.mark.django_db(transaction=True)
def test_a_stage_whose_rows_cannot_be_written_is_not_done(campaign, claimed):
    stage = claimed(campaign)

    def write() -> None:
        leave_a_snapshot(stage)
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError):
        transitions.finish(stage, write, {})

    stage.refresh_from_db()
    assert stage.status == Status.RUNNING
    assert not Snapshot.objects.exists()


def test_a_worker_that_was_replaced_cannot_finish(campaign, claimed, silent):
    old = claimed(campaign)
    silent(old, 61)
    transitions.lose_heartbeat(old, before=old.heartbeat_at.max.replace(tzinfo=old.heartbeat_at.tzinfo))
    new = transitions.claim(old.pk)

    with pytest.raises(transitions.StaleClaim):
        transitions.finish(old, lambda: leave_a_snapshot(old), {})

    assert not Snapshot.objects.exists()
    transitions.finish(new, lambda: leave_a_snapshot(new), {})
    assert Snapshot.objects.count() == 1


@pytest.mark.parametrize("late", ["beat", "hand_out", "fail"])
def test_a_cancelled_worker_can_do_nothing_more(campaign, claimed, late):
    stage = claimed(campaign)
    transitions.cancel(stage, "anna")
    act = {
        "beat": lambda: transitions.beat(stage, {"step": 1}),
        "hand_out": lambda: transitions.hand_out(stage, "to people"),
        "fail": lambda: transitions.fail(stage, "broken", may_pass=True),
    }[late]

    with pytest.raises(transitions.StaleClaim):
        act()

    stage.refresh_from_db()
    assert (stage.status, stage.progress) == (Status.CANCELLED, {})
