import pytest

from rounds import tasks, transitions
from rounds.models import Prediction, PseudoLabel, Status
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


@pytest.fixture
def select_after(campaign, project, open_round, label, fake_ml):
    """A round whose labels hold defects, up to its select stage, whose predictions show so many pixels of a defect."""

    def run(pixels: int, **settings):
        for image in project.images.filter(split="train")[1:3]:
            label(image)
        kinds = ("prepare", "train", "predict", "select")
        one = open_round(campaign, *kinds, settings={2: {"on": "pool"}, 3: {"share": 1.0, **settings}})
        for stage in one.stages.exclude(kind="select"):
            tasks.work(stage.pk)
        Prediction.objects.update(class_pixels=[4096 - pixels, pixels, 0])
        stage = one.stages.get(kind="select")
        tasks.work(stage.pk)
        stage.refresh_from_db()
        return stage

    return run


def test_a_round_stops_where_pseudo_labels_show_no_defect_and_says_what_to_do(select_after):
    stage = select_after(0)

    assert stage.status == Status.FAILED
    assert stage.error.startswith("Expected pseudo-labels with defects, for the labels show them on 9.")
    assert "got 0.000% on 6 masks" in stage.error
    assert not PseudoLabel.objects.exists()


@pytest.mark.parametrize(("pixels", "told"), [(40, {}), (0, {"may_be_background": True})])
def test_it_goes_on_where_they_show_some_or_need_not(select_after, pixels, told):
    stage = select_after(pixels, **told)

    assert (stage.status, stage.error) == (Status.DONE, "")
    assert PseudoLabel.objects.count() == 6


def test_the_pixels_that_the_threshold_has_left_are_what_counts(select_after, monkeypatch):
    """Defects that a model sees everywhere, but is never sure of, are none on a pseudo-label."""
    monkeypatch.setattr(select, "kept_pixels", lambda _, accepted: [(4096, 0, 0) for _ in accepted])

    assert select_after(1000).status == Status.FAILED


def test_images_are_accepted_by_class_where_the_recipe_says_so(run_round):
    *_, stage = run_round(
        ("train", {}), ("predict", {"on": "pool", "stability": True}), ("select", {"share": 0.5, "per_class": True})
    )

    assert stage.pseudo_labels.first().rule == "the top 50% of the images of each class by reliability"
