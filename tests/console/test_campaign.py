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
    assert "Sent to people: 3 (the model is unsure)." in page
    assert "73.1\u00a0%" in page
    assert "70.2\u00a0%" in page
    assert "test split, 90 images, background included; validation split, 60 images, background included" in page


def test_the_learning_curve_needs_two_rounds(as_annotator, campaign, make):
    trained_round(campaign, make, labels=20, miou=0.5)
    assert "Learning curve" not in page_of(as_annotator, campaign)

    trained_round(campaign, make, labels=30, miou=0.6)
    page = page_of(as_annotator, campaign)
    assert "Learning curve" in page
    assert "test 60.0\u00a0% with 30 labels" in page


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
