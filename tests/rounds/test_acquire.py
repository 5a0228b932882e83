from collections import Counter

import pytest

from catalog.models import Image, Label
from ml.acquisition import ACQUISITION
from rounds import transitions
from rounds.models import Acquisition
from rounds.stages import RUNNERS, acquire


def test_round_0_asks_only_about_training_images_of_a_benchmark(campaign, claimed):
    acquire.run(claimed(campaign, "acquire", strategy="random_scenes", count=6))

    asked = Acquisition.objects.all()
    assert asked.count() == 6
    assert {one.image.split for one in asked} == {"train"}
    assert [one.rank for one in asked] == list(range(6))
    assert {(one.purpose, one.reason) for one in asked} == {("random", "drawn at random")}


def test_round_0_asks_about_every_split_of_ones_own_images_in_proportion(make_project, make_campaign, claimed):
    project = make_project(benchmark=False, train=12, val=4, test=4)
    campaign = make_campaign(project, budget=20, first_batch=10)

    acquire.run(claimed(campaign, "acquire", strategy="random_scenes", count=10))

    assert Counter(one.image.split for one in Acquisition.objects.all()) == {"train": 6, "val": 2, "test": 2}


def test_a_scene_is_asked_about_once_a_batch(campaign, project, claimed):
    images = project.images.filter(split="train")
    Image.objects.filter(pk__in=images).update(scene=images.first().scene)

    acquire.run(claimed(campaign, "acquire", strategy="random_scenes", count=6))

    assert Acquisition.objects.count() == 1


def test_the_same_seed_asks_the_same(make_campaign, project, claimed):
    first, second = make_campaign(project, seed=7), make_campaign(project, seed=7)

    acquire.run(claimed(first, "acquire", strategy="random_scenes", count=4))
    acquire.run(claimed(second, "acquire", strategy="random_scenes", count=4))

    assert list(first.acquisitions.values_list("image", flat=True)) == list(
        second.acquisitions.values_list("image", flat=True)
    )


def test_plain_random_may_ask_about_copies(campaign, project, claimed):
    images = project.images.filter(split="train")
    Image.objects.filter(pk__in=images).update(scene=images.first().scene)

    acquire.run(claimed(campaign, "acquire", strategy="random", count=1))

    assert Acquisition.objects.get().purpose == "random"


@pytest.fixture
def predicted(campaign, project, open_round, label, fake_ml):
    """A round that has predicted the pool; its acquire stage is claimed. The first images are the least certain."""
    label(project.images.first())
    one = open_round(campaign, "train", "predict", "acquire", settings={1: {"on": "pool"}, 2: {"count": 3}})
    for stage in one.stages.all()[:2]:
        RUNNERS[stage.kind](transitions.claim(stage.pk))
    return transitions.claim(one.stages.get(kind="acquire").pk)


def test_later_rounds_ask_about_what_the_model_is_least_sure_of(predicted):
    acquire.run(predicted)

    asked = list(Acquisition.objects.all())
    assert [one.image.name for one in asked] == ["001.png", "002.png", "003.png"]
    assert asked[0].reason == "the model is unsure: uncertainty 0.50, place 1 of 7 scenes"
    assert asked[0].prediction.image == asked[0].image


def test_an_image_that_was_labelled_since_it_was_predicted_is_not_asked_about(predicted, project, label):
    label(project.images.get(name="001.png"))

    acquire.run(predicted)

    assert not Acquisition.objects.filter(image__name="001.png").exists()


def test_an_image_that_was_asked_about_is_not_asked_about_again(predicted, project):
    Acquisition.objects.create(
        campaign=predicted.round.campaign, stage=predicted.round.stages.first(), image=project.images.get(name="001.png"),
        purpose="random", rank=0, reason="a test",
    )  # fmt: skip

    acquire.run(predicted)

    assert Acquisition.objects.filter(image__name="001.png").count() == 1


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ({"train": 60, "val": 20, "test": 20}, 10, {"train": 6, "val": 2, "test": 2}),
        ({"train": 97, "val": 1, "test": 2}, 10, {"train": 8, "val": 1, "test": 1}),
        ({"train": 60, "val": 20, "test": 20}, 2, {"train": 1, "test": 1}),
        ({"train": 3, "val": 1}, 10, {"train": 3, "val": 1}),
        ({"train": 5}, 3, {"train": 3}),
        ({}, 3, {}),
    ],
)
def test_a_batch_is_shared_out_in_proportion_and_every_split_gets_one(sizes, count, expected):
    shares = acquire.in_proportion(sizes, count)

    assert sum(shares.values()) == min(count, sum(sizes.values()))
    assert Counter(shares.values()) == Counter(expected.values())
    assert shares.get("train") == expected.get("train")


@pytest.mark.timeout(600)
def test_a_campaign_asks_by_the_strategy_it_names_with_what_the_real_prediction_leaves(
    make_campaign, project, open_round, label
):
    campaign = make_campaign(project, acquire={"strategy": "disagreement"})
    label(project.images.first())
    predict_plan, acquire_plan = (
        next(plan for plan in campaign.recipe["stages"] if plan["kind"] == kind) for kind in ("predict", "acquire")
    )
    one = open_round(
        campaign, "train", "predict", "acquire",
        settings={1: predict_plan["settings"], 2: {**acquire_plan["settings"], "count": 3}},
    )  # fmt: skip

    for stage in one.stages.all():
        RUNNERS[stage.kind](transitions.claim(stage.pk))

    asked = list(Acquisition.objects.all())
    assert len(asked) == 3
    assert all("two models disagree" in one.reason for one in asked)


def test_every_strategy_can_be_named_in_a_campaign(make_campaign, project):
    for name in ACQUISITION:
        campaign = make_campaign(project, acquire={"strategy": name})
        strategies = [plan["settings"]["strategy"] for plan in campaign.recipe["stages"] if plan["kind"] == "acquire"]
        assert strategies == [name]


def test_an_unknown_strategy_is_refused_when_the_campaign_is_made(make_campaign, project):
    with pytest.raises(ValueError, match="expected one of random, "):
        make_campaign(project, acquire={"strategy": "magic"})


def test_a_batch_is_limited_by_the_minutes_that_answers_took_before(predicted, project, label):
    stage = predicted.round.stages.get(kind="predict")
    campaign = predicted.round.campaign
    answered = project.images.get(name="001.png")
    Acquisition.objects.create(
        campaign=campaign, stage=stage, image=answered, purpose="random", rank=0, reason="a test",
        prediction=stage.predictions.get(image=answered), label=label(answered),
    )  # fmt: skip
    Label.objects.update(seconds=60)
    predicted.settings = {"count": 3, "minutes": 2}

    acquire.run(predicted)

    assert Acquisition.objects.filter(stage=predicted).count() == 2
