import pytest

from catalog.models import Image
from rounds.models import ModelVersion, Prediction, PseudoLabel
from rounds.stages import train


@pytest.fixture
def labelled(project, label):
    """Labels on three training images and, by mistake, on every validation and test image."""
    return [
        label(image) for image in [*project.images.filter(split="train")[:3], *project.images.exclude(split="train")]
    ]


def ids(samples) -> set[int]:
    return {int(sample.id) for sample in samples}


def test_it_leaves_a_model_its_files_and_a_snapshot(campaign, claimed, labelled, fake_ml, data_dir):
    stage = claimed(campaign, "train")

    train.run(stage)

    model = ModelVersion.objects.get()
    assert (model.number, model.network, model.image_passes) == (1, "unet", 12)
    assert model.path == f"stages/{stage.pk}/attempt-1/final.pt"
    assert [path.rsplit("/", 1)[1] for path in model.checkpoints] == ["a.pt", "b.pt", "final.pt"]
    assert {file.name for file in stage.files.all()} == {"a.pt", "b.pt", "final.pt", "result.json", "spec.json"}
    assert stage.snapshot.labelled == 3
    assert all((data_dir / file.path).stat().st_size == file.size for file in stage.files.all())


def test_no_validation_or_test_image_is_ever_trained_on(campaign, project, claimed, labelled, fake_ml):
    stage = claimed(campaign, "train")

    train.run(stage)

    (told,) = fake_ml
    training = set(project.images.filter(split="train").values_list("pk", flat=True))
    assert ids(told.labelled) <= training
    assert set(map(int, told.held_out)) == set(project.images.exclude(split="train").values_list("pk", flat=True))


def test_an_image_that_was_kept_out_is_not_trained_on(campaign, claimed, labelled, fake_ml):
    Image.objects.filter(pk=labelled[0].image_id).update(kept_out="its scene is in test")

    train.run(claimed(campaign, "train"))

    (told,) = fake_ml
    assert labelled[0].image_id not in ids(told.labelled)
    assert str(labelled[0].image_id) in told.held_out


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_query_that_lets_one_through_meets_the_assertion(
    campaign, project, claimed, labelled, fake_ml, monkeypatch, split
):
    wrong = [one for one in labelled if one.image.split == split]
    monkeypatch.setattr(train, "training_labels", lambda _: wrong)

    with pytest.raises(train.HeldOutInTraining, match=f"its split is {split}"):
        train.run(claimed(campaign, "train"))

    assert not fake_ml


def test_the_recipe_is_laid_under_the_settings_of_the_stage(campaign, claimed, labelled, fake_ml):
    train.run(claimed(campaign, "train", steps=7, pseudo=True, step="label_efficient_cutmix"))

    (told,) = fake_ml
    assert (told.steps, told.batch, told.network.width) == (7, 4, 4)
    assert (told.step, told.seed, told.threads) == ("label_efficient_cutmix", campaign.seed, 1)
    assert told.classes == ("scratch", "patch")


@pytest.fixture
def accepted(campaign, project, open_round, labelled):
    """A round whose train, predict and select stages have accepted every image of the pool; its second training is next."""
    one = open_round(campaign, "train", "predict", "select", "train", done=3, settings={3: {"pseudo": True}})
    stages = list(one.stages.all())
    model = ModelVersion.objects.create(
        project=project, stage=stages[0], number=1, network="unet", parameters=1, path="m.pt", sha256="0", image_passes=1,
        seconds=1,
    )  # fmt: skip
    stages[1].files.create(name="masks.zip", path="stages/1/attempt-1/masks.zip", sha256="1", size=1)
    for image in project.images.filter(split="train")[3:]:
        prediction = Prediction.objects.create(
            stage=stages[1], model=model, image=image, member=f"{image.pk}.png", uncertainty=0.1, confidence=0.9
        )
        PseudoLabel.objects.create(stage=stages[2], prediction=prediction, image=image, rule="all of them")
    return stages[3]


def test_pseudo_labels_point_into_the_shard_of_their_stage(accepted, fake_ml, data_dir):
    from rounds.transitions import claim

    train.run(claim(accepted.pk))

    (told,) = fake_ml
    assert len(told.pseudo) == 5
    assert told.pseudo[0].mask == f"{data_dir}/stages/1/attempt-1/masks.zip/{told.pseudo[0].id}.png"
    assert (accepted.snapshot.labelled, accepted.snapshot.pseudo) == (3, 5)
    second = ModelVersion.objects.get(number=2)
    assert [parent.number for parent in second.parents.all()] == [1]


def test_a_warm_start_begins_with_the_weights_of_the_rounds_latest_model(accepted, fake_ml, data_dir):
    from rounds.transitions import claim

    accepted.settings["warm_start"] = True
    accepted.save()

    train.run(claim(accepted.pk))

    (told,) = fake_ml
    assert told.start_from == f"{data_dir}/m.pt"
    accepted.refresh_from_db()
    assert accepted.result["notes"] == ["Goes on from the weights of version 1."]


def test_an_image_labelled_in_the_meantime_is_no_longer_pseudo_labelled(accepted, fake_ml, label, project):
    from rounds.transitions import claim

    late = project.images.filter(split="train")[5]
    label(late)

    train.run(claim(accepted.pk))

    (told,) = fake_ml
    assert late.pk in ids(told.labelled)
    assert late.pk not in ids(told.pseudo)


def test_the_same_data_make_the_same_snapshot(campaign, claimed, labelled, fake_ml, label):
    first, second = claimed(campaign, "train"), claimed(campaign, "train")
    train.run(first)
    train.run(second)
    label(campaign.project.images.filter(split="train")[7])
    third = claimed(campaign, "train")
    train.run(third)

    assert first.snapshot.digest == second.snapshot.digest
    assert first.snapshot.digest != third.snapshot.digest
