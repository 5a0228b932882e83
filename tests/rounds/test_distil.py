import pytest

from ml.networks.lean import LeanNet
from rounds import tasks
from rounds.models import Evaluation, ModelVersion, Status
from rounds.stages import distil, train

SMALL = {"network": {"name": "lean", "channels": 1, "width": 2}, "distil": {"lessons": [{"loss": "kl"}]}}


@pytest.fixture
def labelled(project, label):
    """Labels on three of the eight training images."""
    return [label(image) for image in project.images.filter(split="train").order_by("pk")[:3]]


@pytest.mark.timeout(300)
def test_a_round_distils_its_model_into_a_named_small_network(campaign, open_round, labelled):
    """The real `ml`, in processes of its own."""
    one = open_round(campaign, "train", "distil", "evaluate", settings={1: SMALL})

    for stage in one.stages.order_by("position"):
        tasks.work(stage.pk)

    assert list(one.stages.values_list("status", "error")) == [(Status.DONE, "")] * 3
    teacher, student = ModelVersion.objects.order_by("number")
    assert (student.network, list(student.parents.all())) == ("lean", [teacher])
    assert student.parameters == sum(p.numel() for p in LeanNet(channels=1, classes=3, width=2).parameters())
    assert (student.stage.snapshot.labelled, len(student.stage.snapshot.items)) == (3, 8)
    assert Evaluation.objects.filter(model=student).count() == 2
    assert one.latest_model() == teacher
    assert {file.name for file in student.stage.files.all()} >= {"checkpoint-3.pt", "result.json", "spec.json"}


@pytest.fixture
def round_of_two(campaign, open_round, labelled, fake_ml):
    """A round with two models, whose distillation is next."""
    one = open_round(campaign, "train", "train", "distil", settings={2: SMALL})
    for stage in one.stages.filter(kind="train"):
        tasks.work(stage.pk)
    return one


def _models(one):
    return list(ModelVersion.objects.filter(stage__round=one).order_by("number"))


def _measured(model, miou):
    Evaluation.objects.create(
        stage=model.stage, model=model, split="val", images=2, confusion=[], miou=miou, miou_foreground=miou, iou=[]
    )


def test_the_latest_model_teaches_where_none_was_measured(round_of_two):
    assert distil.teachers_of(round_of_two.stages.get(kind="distil")) == _models(round_of_two)[-1:]


def test_the_best_on_validation_teaches_where_they_were(round_of_two):
    first, second = _models(round_of_two)
    _measured(first, 0.8)
    _measured(second, 0.7)

    assert distil.teachers_of(round_of_two.stages.get(kind="distil")) == [first]


def test_all_models_of_the_round_teach_where_the_recipe_says_so(round_of_two):
    stage = round_of_two.stages.get(kind="distil")
    stage.settings["teachers"] = "all"

    assert distil.teachers_of(stage) == _models(round_of_two)


def test_no_validation_or_test_image_is_ever_shown_to_a_teacher(round_of_two, project, fake_ml):
    tasks.work(round_of_two.stages.get(kind="distil").pk)

    told = fake_ml[-1]
    pool = set(project.images.filter(split="train").values_list("pk", flat=True)[3:])
    assert {int(one.id) for one in told.unlabelled} == pool
    assert set(map(int, told.held_out)) == set(project.images.exclude(split="train").values_list("pk", flat=True))


def test_an_image_that_slips_through_meets_the_assertion(round_of_two, project, monkeypatch, fake_ml):
    monkeypatch.setattr(train, "unlabelled_images", lambda *_: project.images.filter(split="test"))
    before = len(fake_ml)

    with pytest.raises(train.HeldOutInTraining):
        distil.run(round_of_two.stages.get(kind="distil"))

    assert len(fake_ml) == before
