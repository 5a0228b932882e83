from rounds.models import Evaluation, ModelVersion
from rounds.stages import evaluate, train


def evaluated(campaign, open_round, label):
    from rounds.transitions import claim

    label(campaign.project.images.filter(split="train").first())
    one = open_round(campaign, "train", "train", "evaluate")
    for stage in one.stages.filter(kind="train"):
        train.run(claim(stage.pk))
    stage = claim(one.stages.get(kind="evaluate").pk)
    evaluate.run(stage)
    stage.refresh_from_db()
    return stage


def test_every_model_of_the_round_is_measured_on_validation_and_test(campaign, open_round, label, fake_ml):
    stage = evaluated(campaign, open_round, label)

    assert sorted(Evaluation.objects.values_list("model__number", "split")) == [
        (1, "test"), (1, "val"), (2, "test"), (2, "val"),
    ]  # fmt: skip
    assert [len(told.checkpoints) for told in fake_ml[2:]] == [2, 2]
    assert stage.result["summary"] == "validation mIoU 100.0 % (2 images), test mIoU 100.0 % (2 images)"
    assert stage.files.filter(name="val/confusions.npz").exists()


def test_the_truth_of_a_benchmark_is_what_came_with_it(campaign, open_round, label, fake_ml):
    evaluated(campaign, open_round, label)

    assert all("/references/" in sample.mask for sample in fake_ml[-1].samples)


def test_in_ones_own_project_the_truth_is_the_label_that_counts(
    make_project, make_campaign, open_round, label, fake_ml
):
    project = make_project(benchmark=False)
    campaign = make_campaign(project)
    label(project.images.filter(split="test").first())

    stage = evaluated(campaign, open_round, label)

    (sample,) = fake_ml[-1].samples
    assert "/labels/" in sample.mask
    assert set(Evaluation.objects.values_list("split", flat=True)) == {"test"}
    assert stage.result["notes"] == ["No validation image has a known mask: nothing measured there."]


def test_without_any_truth_the_stage_says_so_and_is_done(make_project, make_campaign, open_round, label, fake_ml):
    campaign = make_campaign(make_project(benchmark=False))

    stage = evaluated(campaign, open_round, label)

    assert stage.status == "done"
    assert "nothing measured" in stage.result["summary"]
    assert ModelVersion.objects.count() == 2
