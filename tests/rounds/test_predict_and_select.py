import pytest

from rounds import transitions
from rounds.models import Prediction, PseudoLabel
from rounds.stages import RUNNERS, select


@pytest.fixture
def run_round(campaign, project, open_round, label, fake_ml):
    """Run the stages of a round one after the other, with two labels there."""

    def run(*stages: tuple[str, dict]):
        for image in project.images.filter(split="train")[:2]:
            label(image)
        one = open_round(
            campaign,
            *(kind for kind, _ in stages),
            settings={place: settings for place, (_, settings) in enumerate(stages)},
        )
        for stage in one.stages.all():
            RUNNERS[stage.kind](transitions.claim(stage.pk))
        return list(one.stages.all())

    return run


def test_the_pool_is_predicted_by_the_latest_model(run_round, project, fake_ml):
    _, stage = run_round(("train", {}), ("predict", {"on": "pool"}))

    told = fake_ml[-1]
    assert len(told.checkpoints) == 1
    assert len(told.samples) == stage.predictions.count() == 6
    assert all(prediction.image.split == "train" for prediction in stage.predictions.all())
    assert stage.files.filter(name="masks.zip").exists()


def test_stability_is_scored_with_the_checkpoints_at_thirds(run_round, fake_ml):
    _, stage = run_round(("train", {}), ("predict", {"on": "pool", "stability": True}))

    assert [path.rsplit("/", 1)[1] for path in fake_ml[-1].checkpoints] == ["a.pt", "b.pt", "final.pt"]
    assert stage.predictions.first().stability == 1.0


def test_a_stage_may_ask_for_other_settings_than_the_recipe(run_round, fake_ml):
    run_round(("train", {}), ("predict", {"on": "pool", "threshold": 0.8}))

    assert fake_ml[-1].threshold == 0.8


def test_the_most_reliable_half_is_accepted(run_round, data_dir):
    *_, stage = run_round(("train", {}), ("predict", {"on": "pool", "stability": True}), ("select", {"share": 0.5}))

    accepted = set(stage.pseudo_labels.values_list("prediction", flat=True))
    best = Prediction.objects.order_by("-reliability").values_list("pk", flat=True)[:3]
    assert accepted == set(best)
    assert stage.pseudo_labels.first().rule == "the top 50% by reliability, reliability 0.750 and up"
    reliable = (data_dir / stage.files.get(name="reliable_ids.txt").path).read_text().splitlines()
    unreliable = (data_dir / stage.files.get(name="unreliable_ids.txt").path).read_text().splitlines()
    assert reliable == ["007.png", "006.png", "005.png"]
    assert unreliable == ["004.png", "003.png", "002.png"]


def test_the_rest_is_what_the_round_has_not_accepted(run_round):
    stages = run_round(
        ("train", {}), ("predict", {"on": "pool", "stability": True}), ("select", {"share": 0.5}),
        ("predict", {"on": "rest"}), ("select", {"share": 1.0}),
    )  # fmt: skip

    assert stages[3].predictions.count() == 3
    assert stages[4].pseudo_labels.first().rule == "all of them"
    assert PseudoLabel.objects.values("image").distinct().count() == 6


def test_with_everything_labelled_nothing_is_predicted_and_nothing_accepted(run_round, project, label):
    for image in project.images.filter(split="train")[2:]:
        label(image)

    stages = run_round(("train", {}), ("predict", {"on": "pool"}), ("select", {"share": 0.5}))

    assert stages[1].result["summary"] == "no image is left to predict"
    assert not Prediction.objects.exists()
    assert stages[2].result["accepted"] == 0


def test_a_score_that_is_no_number_is_refused(run_round):
    *_, stage = run_round(("train", {}), ("predict", {"on": "pool"}))
    one = stage.predictions.first()
    one.confidence = float("nan")

    with pytest.raises(ValueError, match="finite"):
        select.trust(one)
