import pytest
from django.core.exceptions import ValidationError

from rounds.models import ModelVersion, Promotion
from rounds.promotion import promote, roll_back


@pytest.fixture
def models(campaign, project, open_round) -> list[ModelVersion]:
    one = open_round(campaign, "train", "train", "train", done=3)
    return [
        ModelVersion.objects.create(
            project=project, stage=stage, number=number, network="unet", parameters=1, path="m.pt", sha256="0",
            image_passes=1, seconds=1,
        )
        for number, stage in enumerate(one.stages.all(), start=1)
    ]  # fmt: skip


def champions(project) -> list[int]:
    return list(project.models.filter(champion=True).values_list("number", flat=True))


def test_a_promoted_model_replaces_the_champion(project, models, anna):
    promote(models[0], by=anna, reason="the first")
    record = promote(models[1], by=anna, reason="better on test")

    assert champions(project) == [2]
    assert (record.replaced, record.by, record.reason) == (models[0], anna, "better on test")


def test_promoting_the_champion_again_changes_nothing(project, models, anna):
    first = promote(models[0], by=anna, reason="the first")

    assert promote(models[0], by=anna, reason="again") == first
    assert Promotion.objects.count() == 1


def test_rolling_back_twice_goes_two_back(project, models, anna):
    for model in models:
        promote(model, by=anna, reason="next")

    roll_back(project, by=anna)
    assert champions(project) == [2]
    roll_back(project, by=anna)
    assert champions(project) == [1]
    with pytest.raises(ValidationError, match="no earlier champion"):
        roll_back(project, by=anna)


def test_after_a_roll_back_a_new_champion_can_be_rolled_back_to_the_old(project, models, anna):
    promote(models[0], by=anna, reason="next")
    promote(models[1], by=anna, reason="next")
    roll_back(project, by=anna)
    promote(models[2], by=anna, reason="next")

    roll_back(project, by=anna)

    assert champions(project) == [1]


@pytest.mark.django_db(transaction=True)
def test_two_promotions_at_once_leave_one_champion(project, models, anna, in_threads):
    waiting = list(models)

    outcome = in_threads(lambda: promote(waiting.pop(), by=anna, reason="at once"), count=3)

    assert all(isinstance(one, Promotion) for one in outcome)
    assert len(champions(project)) == 1
