import pytest
from django.core.exceptions import ValidationError

from rounds import campaigns, schedule
from rounds.models import Stage, Status


def test_a_campaign_keeps_its_own_copy_of_the_recipe(make_campaign, project):
    campaign = make_campaign(project, recipe_name="ppl")

    assert campaign.recipe["train"]["steps"] == 3
    assert campaign.recipe["stages"][0]["kind"] == "prepare"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"budget": 3, "first_batch": 4}, "must cover the first batch"),
        ({"max_rounds": 0}, "At least one training round"),
        ({"first_batch": 0}, "at least one image"),
        ({"clock": "at two"}, "crontab of five fields"),
        ({"overrides": {"steps": "many"}}, "expected int, got 'many'"),
        ({"overrides": {"epochs": 3}}, "unknown fields epochs"),
        ({"name": ""}, "cannot be blank"),
    ],
)
def test_a_campaign_that_could_not_run_is_refused(make_campaign, project, values, sentence):
    with pytest.raises(ValidationError, match=sentence):
        make_campaign(project, **values)


def test_a_script_is_refused_where_the_truth_is_not_known(make_campaign, make_project):
    with pytest.raises(ValidationError, match="not marked as a benchmark"):
        make_campaign(make_project(benchmark=False), scripted=True)


def test_a_project_has_one_open_campaign_for_people(make_campaign, make_project, anna):
    project = make_project(benchmark=False)
    first = make_campaign(project)

    with pytest.raises(ValidationError, match=f"close {first} first"):
        make_campaign(project)

    campaigns.close(first, anna)
    assert make_campaign(project).pk


def test_a_cancelled_round_stops_every_stage_that_is_not_done(campaign, open_round, anna):
    one = open_round(campaign, "prepare", "train", "predict", done=1)

    assert campaigns.cancel_round(one, anna) == 2

    assert list(one.stages.values_list("status", flat=True)) == [Status.DONE, Status.CANCELLED, Status.CANCELLED]
    assert one.stages.last().events.get().reason == "cancelled by anna"


def test_a_retried_round_goes_on_where_it_was_cancelled(
    campaign, open_round, anna, rings, django_capture_on_commit_callbacks
):
    one = open_round(campaign, "prepare", "train", "predict", done=1)
    campaigns.cancel_round(one, anna)

    with django_capture_on_commit_callbacks(execute=True):
        assert campaigns.retry_round(one, anna) == 2

    assert rings == [("rounds.tasks.advance", campaign.pk)]
    assert schedule.due(campaign.pk) == one.stages.get(kind="train")


def test_a_round_that_others_followed_cannot_be_retried(campaign, open_round, anna):
    one = open_round(campaign, "prepare", "annotate")
    campaigns.cancel_round(one, anna)
    schedule.start_round(campaign, anna)

    with pytest.raises(ValidationError, match="only the latest round"):
        campaigns.retry_round(one, anna)


def test_a_closed_campaign_opens_nothing_more(campaign, open_round, anna):
    open_round(campaign, "prepare", "train")

    campaigns.close(campaign, anna)
    schedule.advance(campaign.pk)

    assert set(Stage.objects.values_list("status", flat=True)) == {Status.CANCELLED}
    assert schedule.start_round(campaign, anna) is None


def test_the_pool_holds_training_images_without_a_label_that_counts(campaign, project, label):
    label(project.images.get(name="001.png"))
    project.images.filter(name="002.png").update(kept_out="its scene is in test")

    names = set(campaigns.pool(campaign).values_list("name", flat=True))

    assert names == {"000.png", "003.png", "004.png", "005.png", "006.png", "007.png"}
