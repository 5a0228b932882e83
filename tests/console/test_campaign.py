import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from rounds.models import Status

pytestmark = pytest.mark.django_db


def page_of(client, campaign) -> str:
    answer = client.get(reverse("campaign", args=[campaign.pk]))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def trained_round(campaign, make, *, labels: int, miou: float) -> None:
    one = make.round(campaign, {"train: train on labels": Status.DONE})
    make.evaluation(make.model(one.stages.get(), labelled=labels), miou=miou)


def test_a_round_is_told_with_its_models_and_what_was_sent_back(as_annotator, campaign, make):
    make.full_round(campaign, pictures=6)

    page = page_of(as_annotator, campaign)

    assert "3 pseudo-labels accepted." in page
    assert "Sent to people: 3 (chosen by what the model says)." in page
    assert "73.1\u00a0%" in page
    assert "70.2\u00a0%" in page
    assert "test split, 90 images, background included; validation split, 60 images, background included" in page


def cells(page: str) -> list[list[str]]:
    """The rows of the curve's table."""
    table = page.partition("<h2>Learning curve</h2>")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [re.findall(r">([^<>]+)</(?:a|td)>", row) for row in table.split("</tr>")[:-1]]


def test_the_learning_curve_begins_with_the_first_round_that_was_measured(as_annotator, campaign, make):
    one = make.round(campaign, {"train: train on labels": Status.DONE})
    model = make.model(one.stages.get(), labelled=20)
    assert "Learning curve" not in page_of(as_annotator, campaign)

    make.evaluation(model, miou=0.5)
    trained_round(campaign, make, labels=30, miou=0.6)

    page = page_of(as_annotator, campaign)
    assert "round 1: test 60.0\u00a0% with 30 labels" in page
    assert cells(page) == [["Round 0", "20", "50.0\u00a0%"], ["Round 1", "30", "60.0\u00a0%"]]


def test_the_learning_curve_tells_what_labels_alone_gave_and_what_pseudo_labels_added(as_annotator, campaign, make):
    one = make.round(campaign, {f"train: {name}": Status.DONE for name in ("labels", "half", "all")})
    for stage, pseudo, miou in zip(one.stages.all(), (0, 450, 900), (0.65, 0.68, 0.64), strict=True):
        model = make.model(stage, labelled=100, pseudo=pseudo)
        make.evaluation(model, miou=miou)
        make.evaluation(model, "val", miou=miou + 0.1)

    page = page_of(as_annotator, campaign)

    percent = [f"{value}\u00a0%" for value in ("65.0", "64.0", "75.0", "74.0")]
    assert cells(page) == [["Round 0", "100", "900", *percent[:2], "−1.0", *percent[2:], "−1.0"]]
    assert "round 0: test 64.0\u00a0% with 100 labels and 900 pseudo-labels" in page
    assert ">+ 900</text>" in page


def test_a_training_that_was_shown_the_pool_is_not_called_labels_alone(as_annotator, campaign, make):
    trained_round(campaign, make, labels=20, miou=0.5)
    campaign.rounds.get().stages.update(settings={"unlabelled": True})

    page = page_of(as_annotator, campaign)

    assert "labels and the pool" in page
    assert "labels alone" not in page


def test_a_distilled_network_is_no_point_of_the_curve(as_annotator, campaign, make):
    one = make.round(campaign, {"train": Status.DONE, "distil": Status.DONE})
    for stage, miou in zip(one.stages.all(), (0.7, 0.4), strict=True):
        make.evaluation(make.model(stage), miou=miou)

    assert cells(page_of(as_annotator, campaign)) == [["Round 0", "20", "70.0\u00a0%"]]


def test_triggers_are_said_in_words(as_annotator, project, make):
    campaign = make.campaign(project, label_trigger=12, clock="0 2 * * *", enough_share=0.9, enough_hours=24)

    page = page_of(as_annotator, campaign)

    assert "After 12 new labels." in page
    assert "By the clock 0 2 * * * (UTC), once there is a new label." in page
    assert "A round waits for 90.0\u00a0% of its batch to be answered, or 24 hours with at least one answer." in page


def test_without_triggers_rounds_follow_each_other(as_annotator, campaign):
    assert "As soon as the round before it is complete." in page_of(as_annotator, campaign)


def test_silence_from_the_workers_is_noticed(as_annotator, campaign, make):
    found = make.labelling_project(campaign, polled_at=timezone.now())
    assert "Nobody has looked" not in page_of(as_annotator, campaign)

    found.polled_at = timezone.now() - timedelta(minutes=12)
    found.save()
    assert "Nobody has looked into Label Studio since" in page_of(as_annotator, campaign)


def test_times_are_shown_in_the_time_zone_of_the_installation(as_annotator, settings, campaign, make):
    settings.TIME_ZONE = "Asia/Tokyo"
    one = make.round(campaign)
    type(one).objects.update(opened_at="2026-03-01T20:30:00Z")

    assert "Opened 2 Mar, 05:30" in page_of(as_annotator, campaign)


def test_a_campaign_that_is_not_there_is_not_found(as_annotator):
    answer = as_annotator.get(reverse("campaign", args=[999]))

    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_names_from_outside_are_escaped(as_annotator, project, make):
    campaign = make.campaign(project, name="<script>alert(1)</script>")

    assert "<script>alert" not in as_annotator.get(reverse("campaign", args=[campaign.pk])).content.decode()


def test_the_number_of_queries_does_not_grow_with_rounds(as_annotator, campaign, make, django_assert_max_num_queries):
    trained_round(campaign, make, labels=20, miou=0.5)
    with django_assert_max_num_queries(40) as one:
        page_of(as_annotator, campaign)
    for labels in (30, 40, 50):
        trained_round(campaign, make, labels=labels, miou=0.6)

    with django_assert_max_num_queries(len(one)):
        page_of(as_annotator, campaign)
