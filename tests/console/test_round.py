import re
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from rounds.models import Acquisition, Stage, Status

pytestmark = pytest.mark.django_db


def page_of(client, one) -> str:
    answer = client.get(reverse("round", args=[one.pk]))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


@pytest.fixture
def running(campaign, make) -> Stage:
    one = make.round(
        campaign, {"prepare": Status.DONE, "train: train on labels": Status.RUNNING, "evaluate": Status.PENDING}
    )
    stage = one.stages.get(kind="train")
    stage.progress = {
        "step": 98, "steps": 240, "epoch": 9, "epochs": 22, "loss": 0.41234, "eta_seconds": 31.0,
        "curve": [[0, 1.2], [40, 0.8], [98, 0.4]],
    }  # fmt: skip
    stage.save()
    return stage


def test_every_stage_says_its_status_in_a_word(as_annotator, campaign, make):
    one = make.round(campaign, {f"train: step {status}": status for status in Status.values if status != "waiting"})

    page = page_of(as_annotator, one)

    assert re.findall(r'data-status="(\w+)"', page) == ["pending", "running", "done", "failed", "cancelled"]
    for word in ("pending", "running", "done", "failed", "cancelled"):
        assert f"</span>{word}</span>" in page


def test_a_running_stage_shows_how_far_it_is(as_annotator, running):
    page = page_of(as_annotator, running.round)

    assert (
        'role="progressbar" aria-label="train on labels" aria-valuemin="0" aria-valuemax="100" aria-valuenow="40"'
        in page
    )
    assert "step 98 of 240 · epoch 9 of 22 · loss 0.4123 · about 30 seconds left" in page
    assert 'class="sparkline"' in page


def test_the_page_polls_every_two_seconds_while_something_runs(as_annotator, running):
    assert 'hx-trigger="every 2s' in page_of(as_annotator, running.round)


def test_the_page_polls_less_often_while_people_work(as_annotator, campaign, make):
    assert 'hx-trigger="every 5s' in page_of(as_annotator, make.full_round(campaign))


@pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELLED])
def test_the_page_is_still_once_nothing_moves(as_annotator, campaign, make, status):
    page = page_of(as_annotator, make.round(campaign, {"prepare": Status.DONE, "train": status}))

    assert "hx-trigger" not in page
    assert "htmx" not in page


def test_between_two_stages_the_round_still_runs(as_annotator, campaign, make):
    page = page_of(as_annotator, make.round(campaign, {"prepare": Status.DONE, "train": Status.PENDING}))

    assert "<title>Round 0: running" in page
    assert 'hx-trigger="every 2s' in page


def test_a_poll_leaves_messages_to_the_page_they_are_meant_for(as_engineer, running):
    address = reverse("round", args=[running.round_id])
    as_engineer.post(reverse("cancel-round", args=[running.round_id]))

    poll = as_engineer.get(address, headers={"HX-Request": "true"})

    assert "2 stages cancelled." not in poll.content.decode()
    assert "2 stages cancelled." in as_engineer.get(address).content.decode()


def test_a_failure_shows_its_reason_its_log_and_the_way_out(as_engineer, campaign, make):
    one = make.round(campaign, {"train": Status.FAILED})
    one.stages.update(error="The loss became NaN. Lower learning_rate.", log_tail="step 41 <nan>")

    raw = as_engineer.get(reverse("round", args=[one.pk])).content.decode()

    assert "The loss became NaN. Lower learning_rate." in raw
    assert "step 41 &lt;nan&gt;" in raw
    assert 'id="retry"' in raw


def test_a_done_stage_says_what_it_came_to(as_annotator, campaign, make):
    one = make.round(campaign, {"prepare": Status.DONE, "annotate": Status.DONE})
    one.stages.filter(kind="prepare").update(result={"summary": "24 labels", "notes": ["No label shows a pit yet."]})
    one.stages.filter(kind="annotate").update(result={"asked": 20, "answered": 18, "skipped": 2})

    page = page_of(as_annotator, one)

    assert "24 labels." in page
    assert "No label shows a pit yet." in page
    assert "18 of 20 images answered." in page
    assert "1 minute 15 seconds" in page


def test_what_was_sent_to_people_says_why_and_what_became_of_it(as_annotator, campaign, make):
    make.labelling_project(campaign)
    one = make.full_round(campaign, pictures=8)
    answered, skipped, sent, _ = Acquisition.objects.order_by("rank")
    Acquisition.objects.filter(pk=answered.pk).update(label=make.label(answered.image))
    Acquisition.objects.filter(pk=skipped.pk).update(skipped_at=timezone.now())
    task = make.task(sent)

    page = page_of(as_annotator, one)

    assert "Sent to people: 4 images" in page
    assert "1 answered, 1 skipped." in page
    assert 'aria-valuenow="50"' in page
    assert "Its edges are unsure" in page
    assert f"data?task={task.remote_id}" in page
    assert "not sent yet" in page


def test_an_older_round_points_to_the_newer_one(as_engineer, campaign, make):
    old = make.round(campaign, {"train": Status.FAILED})
    new = make.round(campaign, {"prepare": Status.RUNNING})

    page = page_of(as_engineer, old)

    assert f'<a href="/rounds/{new.pk}/">Round 1</a> has been opened since.' in page
    assert 'id="retry"' not in page


def test_the_number_of_queries_does_not_grow_with_pictures(as_annotator, project, make, django_assert_max_num_queries):
    small, large = (make.full_round(make.campaign(project, scripted=True), pictures=size) for size in (4, 20))
    with django_assert_max_num_queries(40) as one:
        page_of(as_annotator, small)

    with django_assert_max_num_queries(len(one)):
        page_of(as_annotator, large)
