"""Nothing is faked: the real `ml` in processes of its own, on twelve images of 64 pixels."""

import pytest
from django.core.management import call_command

from catalog.integrity import faults
from rounds import report
from rounds.models import Evaluation, ModelVersion, PseudoLabel, Snapshot, Stage, Status


@pytest.mark.timeout(900)
def test_a_campaign_runs_round_0_and_a_round_of_ppl_to_its_end(make_campaign, project, answer):
    campaign = make_campaign(
        project, recipe_name="ppl", budget=5, first_batch=3, batch=2, max_rounds=1, select={"may_be_background": True}
    )  # fmt: skip

    call_command("run_campaign", campaign.pk)
    answer(campaign)
    call_command("run_campaign", campaign.pk)

    campaign.refresh_from_db()
    assert campaign.closed_at is not None
    assert report.all_stages_done(campaign)
    assert set(Stage.objects.values_list("attempt", flat=True)) == {1}
    assert list(ModelVersion.objects.values_list("stage__round__number", flat=True)) == [1] * 3
    assert list(Snapshot.objects.order_by("pk").values_list("labelled", "pseudo")) == [(3, 0), (3, 2), (3, 5)]
    assert PseudoLabel.objects.exclude(image__split="train").count() == 0
    assert Evaluation.objects.count() == 3 * 2
    assert all(0 <= one.miou <= 1 and one.images == 2 for one in Evaluation.objects.all())
    assert Stage.objects.filter(kind="train").exclude(progress__has_key="curve").count() == 0
    assert list(faults()) == []


@pytest.mark.timeout(120)
def test_a_training_that_cannot_run_fails_with_the_sentence_and_the_log_of_ml(
    make_campaign, project, label, open_round
):
    from rounds import tasks

    campaign = make_campaign(project, overrides={"step": "magic"})
    label(project.images.first())
    stage = open_round(campaign, "train").stages.get()

    tasks.work(stage.pk)

    stage.refresh_from_db()
    assert stage.status == Status.FAILED
    assert "step: expected one of supervised" in stage.error
    assert stage.error in stage.log_tail
