"""Who may see what, and who may press which button: asked of the server, never of the page."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from console.urls import urlpatterns
from rounds.models import ModelVersion, Promotion, Round, Status

pytestmark = pytest.mark.django_db
OPEN = {"login", "logout"}
ACTIONS = ["start-round", "cancel-round", "retry-round", "promote-model", "roll-back-model", "cancel-import"]


def address(pattern) -> str:
    return "/" + str(pattern.pattern).replace("<int:pk>", "1").replace("<int:prediction>", "1").replace(
        "<int:label>", "1"
    )


@pytest.mark.parametrize("pattern", [one for one in urlpatterns if one.name not in OPEN], ids=str)
def test_whoever_is_not_logged_in_is_sent_to_the_login(client, pattern):
    for answer in (client.get(address(pattern)), client.post(address(pattern))):
        assert answer.status_code == 302
        assert answer["Location"].startswith("/login/?next=/")


@pytest.mark.parametrize("action", ACTIONS)
def test_an_annotator_cannot_press_the_buttons_of_engineers(as_annotator, action):
    assert as_annotator.post(reverse(action, args=[1])).status_code == 403


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_happens_by_following_a_link(as_engineer, action):
    assert as_engineer.get(reverse(action, args=[1])).status_code == 405


def test_an_annotator_sees_the_round_without_its_buttons(as_annotator, campaign, make):
    one = make.round(campaign, {"prepare": Status.DONE, "train": Status.RUNNING})

    page = as_annotator.get(reverse("round", args=[one.pk])).content.decode()

    assert "running" in page
    assert 'id="cancel"' not in page
    assert ">Admin<" not in page


def test_a_page_of_refusal_says_what_to_do(as_annotator):
    answer = as_annotator.post(reverse("start-round", args=[1]))

    assert "An administrator can give you the permission" in answer.content.decode()


def test_an_annotator_with_the_permission_may_start(client, annotator, campaign):
    annotator.user_permissions.add(Permission.objects.get(codename="change_campaign"))
    client.force_login(annotator)

    client.post(reverse("start-round", args=[campaign.pk]))

    assert campaign.rounds.count() == 1


def test_starting_a_round_goes_to_its_page(as_engineer, campaign):
    answer = as_engineer.post(reverse("start-round", args=[campaign.pk]))

    assert answer["Location"] == reverse("round", args=[Round.objects.get().pk])


def test_a_round_is_not_started_while_one_computes(as_engineer, campaign, make):
    make.round(campaign, {"prepare": Status.RUNNING})

    answer = as_engineer.post(reverse("start-round", args=[campaign.pk]), follow=True)

    assert campaign.rounds.count() == 1
    assert "No round was started" in answer.content.decode()


def test_cancelling_stops_what_is_left(as_engineer, campaign, make):
    one = make.round(campaign, {"prepare": Status.DONE, "train": Status.RUNNING, "evaluate": Status.PENDING})

    answer = as_engineer.post(reverse("cancel-round", args=[one.pk]), follow=True)

    assert [stage.status for stage in one.stages.all()] == ["done", "cancelled", "cancelled"]
    assert "2 stages cancelled." in answer.content.decode()


def test_retrying_puts_a_failed_stage_back_in_line(as_engineer, campaign, make):
    one = make.round(campaign, {"prepare": Status.DONE, "train": Status.FAILED})

    as_engineer.post(reverse("retry-round", args=[one.pk]))

    assert [stage.status for stage in one.stages.all()] == ["done", "pending"]


def test_an_old_round_is_not_retried_and_the_page_says_why(as_engineer, campaign, make):
    old = make.round(campaign, {"train": Status.FAILED})
    make.round(campaign, {"prepare": Status.RUNNING})

    answer = as_engineer.post(reverse("retry-round", args=[old.pk]), follow=True)

    assert old.stages.get().status == Status.FAILED
    assert "only the latest round" in answer.content.decode()


@pytest.fixture
def two_models(campaign, make) -> tuple[ModelVersion, ModelVersion]:
    one = make.round(campaign, {"train: a": Status.DONE, "train: b": Status.DONE})
    first, second = (make.model(stage) for stage in one.stages.all())
    return first, second


def test_a_model_is_promoted_with_a_reason(as_engineer, engineer, two_models):
    first, _ = two_models

    as_engineer.post(reverse("promote-model", args=[first.pk]), {"reason": "best on pits"})

    promotion = Promotion.objects.get()
    assert (promotion.model, promotion.by, promotion.reason) == (first, engineer, "best on pits")
    assert ModelVersion.objects.get(champion=True) == first


def test_without_a_reason_nothing_is_promoted(as_engineer, two_models):
    answer = as_engineer.post(reverse("promote-model", args=[two_models[0].pk]), {"reason": "  "}, follow=True)

    assert not Promotion.objects.exists()
    assert "Say in a few words why" in answer.content.decode()


def test_rolling_back_brings_the_champion_before_back(as_engineer, two_models):
    first, second = two_models
    for one in two_models:
        as_engineer.post(reverse("promote-model", args=[one.pk]), {"reason": "better"})

    answer = as_engineer.post(reverse("roll-back-model", args=[second.pk]))

    assert answer["Location"] == reverse("model", args=[first.pk])
    assert ModelVersion.objects.get(champion=True) == first


def test_the_first_champion_cannot_be_rolled_back(as_engineer, two_models):
    first, _ = two_models
    as_engineer.post(reverse("promote-model", args=[first.pk]), {"reason": "better"})

    answer = as_engineer.post(reverse("roll-back-model", args=[first.pk]), follow=True)

    assert "no earlier champion" in answer.content.decode()
    assert 'id="roll-back"' not in answer.content.decode()


def test_an_import_is_cancelled_once(as_engineer, project, make):
    running, over = make.imported(project, status="running"), make.imported(project, status="done")

    for one in (running, over):
        as_engineer.post(reverse("cancel-import", args=[one.pk]))
        one.refresh_from_db()

    assert (running.status, over.status) == ("cancelled", "done")


def test_the_login_page_opens_and_lets_in(client, annotator):
    annotator.set_password("long-enough-9")
    annotator.save()
    assert client.get("/login/").status_code == 200

    answer = client.post("/login/", {"username": annotator.username, "password": "long-enough-9"})

    assert answer["Location"] == "/"


def test_a_wrong_password_is_said_in_words(client, annotator):
    answer = client.post("/login/", {"username": annotator.username, "password": "wrong"})

    assert "Please enter a correct username and password" in answer.content.decode()


def test_a_page_that_polls_without_a_session_loads_itself_again(client, campaign, make):
    one = make.round(campaign, {"prepare": Status.RUNNING})

    answer = client.get(reverse("round", args=[one.pk]), headers={"HX-Request": "true"}, follow=True)

    assert answer["HX-Refresh"] == "true"


@pytest.mark.parametrize("page", ["auth/user/", "auth/user/add/", "auth/group/"])
def test_users_and_groups_open_in_the_admin(admin_client, page):
    assert admin_client.get(f"/admin/{page}").status_code == 200
