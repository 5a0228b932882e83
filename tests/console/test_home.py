from html import unescape

import pytest
from django.utils import timezone

from rounds.models import Acquisition, Status

pytestmark = pytest.mark.django_db


def home(client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_an_empty_installation_says_how_to_begin(as_engineer):
    page = home(as_engineer)

    assert "Nothing here yet" in page
    assert "manage.py import_images" in page
    assert "make demo" in page


def test_a_project_shows_its_champion_and_over_what_it_was_measured(as_annotator, campaign, make):
    one = make.round(campaign, {"train": Status.DONE})
    make.evaluation(make.model(one.stages.get(), champion=True))

    page = home(as_annotator)

    assert "73.1\u00a0%" in page
    assert "mIoU over the test split, 90 images, background included" in page


def test_a_waiting_round_leads_into_the_labelling_queue(as_annotator, settings, campaign, make):
    settings.LABEL_STUDIO_PUBLIC_URL = "http://labels.example"
    remote = make.labelling_project(campaign).remote_id
    make.full_round(campaign, pictures=10)

    page = home(as_annotator)

    assert f'href="http://labels.example/projects/{remote}/data?labeling=1"' in page
    assert "Label 5 images" in page


def test_answers_count_towards_what_is_left_to_label(as_annotator, campaign, make):
    make.labelling_project(campaign)
    make.full_round(campaign, pictures=10)
    question = Acquisition.objects.first()
    question.label = make.label(question.image)
    question.save()

    page = home(as_annotator)

    assert "Label 4 images" in page
    assert "1 of 60 labels" in page


def test_nobody_is_asked_to_label_where_a_script_answers(as_engineer, project, make):
    campaign = make.campaign(project, scripted=True)
    make.labelling_project(campaign)
    make.full_round(campaign)

    page = home(as_engineer)

    assert "labeling=1" not in page
    assert "Watch round 0" in page
    assert "answered by a script" in page


def test_a_running_round_can_be_watched(as_annotator, campaign, make):
    make.round(campaign, {"prepare": Status.DONE}, number=0)
    one = make.round(campaign, {"prepare": Status.DONE, "train": Status.RUNNING})

    page = home(as_annotator)

    assert f'href="/rounds/{one.pk}/"' in page
    assert "Watch round 1" in page
    assert "Training: round 1, train." in page


def test_a_failed_round_says_so(as_annotator, campaign, make):
    make.round(campaign, {"prepare": Status.FAILED}, number=1)

    assert "See why round 1 failed" in home(as_annotator)


def test_only_those_who_may_start_see_the_button(client, annotator, engineer, campaign, make):
    make.round(campaign, {"prepare": Status.DONE}, number=1)

    client.force_login(annotator)
    assert "Start round 2" not in home(client)
    client.force_login(engineer)
    assert "Start round 2" in home(client)


def test_a_project_without_a_campaign_offers_one(as_engineer, project):
    assert "No campaign is open." in home(as_engineer)


def test_finished_campaigns_stay_within_reach(as_engineer, campaign):
    campaign.closed_at = timezone.now()
    campaign.save()

    page = home(as_engineer)

    assert f'href="/campaigns/{campaign.pk}/"' in page
    assert "No campaign is open." in page


def test_a_missing_proxy_is_said_loudly(as_annotator, settings, tmp_path):
    settings.NO_PROXY_NOTE = tmp_path / "no-proxy.txt"
    settings.NO_PROXY_NOTE.touch()

    assert "Annotators reach Label Studio without a proxy" in home(as_annotator)


def test_with_a_proxy_there_is_no_warning(as_annotator, settings, tmp_path):
    settings.NO_PROXY_NOTE = tmp_path / "no-proxy.txt"

    assert "without a proxy" not in home(as_annotator)


def test_trouble_with_label_studio_is_shown(as_annotator, campaign, make):
    make.labelling_project(campaign, error="Label Studio refused the connection.")

    assert "Label Studio refused the connection." in home(as_annotator)


def test_an_answer_that_could_not_be_read_is_shown_with_its_task(as_annotator, campaign, make):
    make.labelling_project(campaign)
    make.full_round(campaign)
    task = make.task(Acquisition.objects.first())
    make.problem(task, "region 2 is labelled 'crack'")

    page = home(as_annotator)

    assert "region 2 is labelled 'crack'" in page
    assert f"data?task={task.remote_id}" in page


def test_a_running_import_is_announced(as_annotator, project, make):
    one = make.imported(project, status="running", total=1800, imported=640)

    page = home(as_annotator)

    assert "640 images so far of 1,800 files" in page
    assert f'href="/imports/{one.pk}/"' in page


def test_the_page_looks_again_only_while_something_can_change(as_annotator, campaign, make):
    one = make.round(campaign, {"train": Status.RUNNING})
    assert "hx-trigger" in home(as_annotator)

    one.stages.update(status=Status.DONE)
    assert "hx-trigger" not in home(as_annotator)


def test_the_number_of_queries_does_not_grow_with_rounds_and_images(
    as_annotator, campaign, make, django_assert_max_num_queries
):
    make.labelling_project(campaign)
    make.full_round(campaign)
    with django_assert_max_num_queries(25) as one:
        home(as_annotator)
    for _ in range(4):
        make.round(campaign, {"prepare": Status.DONE, "train": Status.DONE, "evaluate": Status.DONE})
    make.full_round(campaign, pictures=12)

    with django_assert_max_num_queries(len(one)):
        home(as_annotator)
