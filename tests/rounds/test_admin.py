import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from ml.recipes import RECIPES
from rounds.models import Acquisition, Campaign, ModelVersion, Round, Stage, Status
from rounds.stages import train


@pytest.fixture
def boss(db, client) -> User:
    user = User.objects.create_superuser("boss")
    client.force_login(user)
    return user


@pytest.fixture
def form(project) -> dict[str, str]:
    return {
        "project": project.pk, "name": "nightly", "recipe_name": "ppl", "seed": "3", "scripted": "on", "budget": "20",
        "first_batch": "8", "batch": "4", "max_rounds": "3", "label_trigger": "", "clock": "0 2 * * *",
        "enough_share": "1.0", "enough_hours": "", "width": "8", "steps": "50", "batch_size": "", "crop": "64",
        "learning_rate": "0.02",
    }  # fmt: skip


def act(client, model: str, action: str, *rows) -> str:
    """What the admin says after an action on chosen rows."""
    address = reverse(f"admin:rounds_{model}_changelist")
    answer = client.post(address, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)
    return " ".join(str(message) for message in answer.context["messages"])


def test_a_campaign_is_made_with_typed_overrides(boss, client, form):
    answer = client.post(reverse("admin:rounds_campaign_add"), form)

    assert answer.status_code == 302
    campaign = Campaign.objects.get()
    assert (campaign.created_by, campaign.clock, campaign.recipe_name) == (boss, "0 2 * * *", "ppl")
    given = {"steps": 50, "crop": 64, "learning_rate": 0.02}
    train = RECIPES["ppl"].train
    assert campaign.recipe["train"] == {**train, **given, "network": {**train["network"], "width": 8}}


@pytest.mark.parametrize("accepted", [False, True])
def test_a_campaign_accepts_pseudo_labels_without_defects_only_when_told_to(boss, client, form, accepted):
    client.post(reverse("admin:rounds_campaign_add"), form | ({"accept_background": "on"} if accepted else {}))

    stages = [stage for stage in Campaign.objects.get().recipe["stages"] if stage["kind"] == "select"]
    assert [stage["settings"].get("may_be_background", False) for stage in stages] == [accepted] * 2


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("clock", "at two", "Expected a crontab of five fields"),
        ("budget", "5", "must cover the first batch"),
        ("recipe_name", "magic", "Select a valid choice"),
        ("steps", "0", "greater than or equal to 1"),
    ],
)
def test_a_campaign_that_could_not_run_is_refused_in_the_form(boss, client, form, field, value, sentence):
    answer = client.post(reverse("admin:rounds_campaign_add"), form | {field: value})

    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not Campaign.objects.exists()


def test_only_the_triggers_of_a_campaign_can_be_changed(boss, client, campaign):
    address = reverse("admin:rounds_campaign_change", args=[campaign.pk])
    triggers = {"label_trigger": "5", "clock": "30 3 * * *", "enough_share": "0.5", "enough_hours": "12"}

    answer = client.post(address, triggers | {"budget": "999"})

    assert answer.status_code == 302
    campaign.refresh_from_db()
    assert (campaign.label_trigger, campaign.clock, campaign.enough_share, campaign.enough_hours) == (
        5,
        "30 3 * * *",
        0.5,
        12,
    )
    assert campaign.budget == 8


def test_a_round_is_started_cancelled_and_retried_from_the_admin(boss, client, campaign):
    assert act(client, "campaign", "start_round", campaign) == "Round 0 of campaign 1 is open."
    assert "No round was started" in act(client, "campaign", "start_round", campaign)

    assert act(client, "round", "cancel", campaign.rounds.get()) == "campaign 1, round 0: 2 stages cancelled."
    assert set(Stage.objects.values_list("status", flat=True)) == {Status.CANCELLED}

    assert "2 stages are in line again" in act(client, "stage", "retry", *Stage.objects.all())
    assert set(Stage.objects.values_list("status", flat=True)) == {Status.PENDING}


def test_a_campaign_is_closed_from_the_admin(boss, client, campaign):
    assert "is closed" in act(client, "campaign", "close", campaign)

    campaign.refresh_from_db()
    assert campaign.closed_at is not None


def test_a_model_is_promoted_and_rolled_back_from_the_admin(boss, client, campaign, claimed, project, label, fake_ml):
    label(project.images.first())
    for _ in range(2):
        train.run(claimed(campaign, "train"))
    second, first = ModelVersion.objects.all()

    act(client, "modelversion", "promote", first)
    act(client, "modelversion", "promote", second)
    assert act(client, "modelversion", "roll_back", second) == "steel v1 is the champion of steel again."
    assert "one model a project" in act(client, "modelversion", "promote", first, second)
    assert project.models.get(champion=True) == first


@pytest.mark.parametrize("model", [Campaign, Round, Stage, ModelVersion, Acquisition])
def test_every_list_and_row_can_be_looked_at_and_none_deleted(
    boss, client, campaign, claimed, project, label, fake_ml, model
):
    label(project.images.first())
    stage = claimed(campaign, "train")
    train.run(stage)
    Acquisition.objects.create(
        campaign=campaign, stage=stage, image=project.images.first(), purpose="random", rank=0, reason="a test"
    )
    name = model._meta.model_name
    row = model.objects.first()

    assert client.get(reverse(f"admin:rounds_{name}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:rounds_{name}_change", args=[row.pk])).status_code == 200
    assert client.post(reverse(f"admin:rounds_{name}_delete", args=[row.pk])).status_code == 403


def test_a_person_who_may_only_look_cannot_steer(client, campaign):
    from django.contrib.auth.models import Permission

    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(looker)

    act(client, "campaign", "start_round", campaign)

    assert not campaign.rounds.exists()
