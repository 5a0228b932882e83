"""The last state of every answer arrives once, whatever becomes of bells and requests: a real Label Studio, a bad line."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from django.db import connections

from annotation.browser import Browser
from annotation.client import LabelStudio
from annotation.masks import read_index_mask
from catalog import files
from catalog.models import Label
from labelling import inbox, outbox, people, tasks
from labelling.models import LabellingProject, RemoteAnnotation, Task

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("rings"),
]
PASSWORD = "burnish-this-surface"
NOWHERE = "http://127.0.0.1:9"  # every bell is lost


@pytest.fixture
def browser(label_studio, settings):
    settings.WEBHOOK_URL = NOWHERE
    bert = people.add_annotator(f"bert-{time.time_ns()}@example.org", PASSWORD)
    with Browser(label_studio.public_url, bert.user.username, PASSWORD) as browser:
        yield browser


@pytest.fixture
def administrator(label_studio):
    """On a good line of their own."""
    with LabelStudio(label_studio.url, label_studio.token) as remote:
        yield remote


def correct(browser, annotation, result, **state):
    browser._request("correct", "PATCH", f"/api/annotations/{annotation}/", json={"result": result, **state})


def delete(administrator, path):
    headers = administrator._sdk._client_wrapper.get_headers()
    administrator._http.delete(f"{administrator._url}/api/{path}/", headers=headers).raise_for_status()


def mask_of(image) -> np.ndarray:
    label = Label.objects.that_count().get(image=image)
    return read_index_mask(files.absolute(label.path), 2, (48, 32))


def poll(campaign):
    inbox.reconcile(LabellingProject.objects.get(campaign=campaign))
    return LabellingProject.objects.get(campaign=campaign).error


def test_the_last_state_of_every_answer_arrives_once_over_a_bad_line(
    campaign, ask, truth, drawn, browser, administrator, line
):
    changed, lost, skipped, double, untouched = acquisitions = ask(campaign, 5)
    outbox.push(campaign)
    there = campaign.labelling_project.remote_id
    given = {}
    for one in acquisitions[:4]:
        task = browser.next_task(there)
        assert task["data"]["acquisition"] == one.pk
        given[one.pk] = (task, browser.submit(task, drawn(truth(0)), lead_time=2))
    poll(campaign)
    moved = 0

    def somebody_works():
        nonlocal moved
        moved += 1
        correct(browser, given[changed.pk][1], drawn(truth(moved)))

    for fault in line.FAULTS:
        for number in range(3):  # what changed, its annotations, how many tasks there are
            somebody_works()
            line.fails_at(number, fault)
            assert poll(campaign), f"request {number} was to fail by {fault}"
    line.is_fine()
    again = given[double.pk][0] | {"unique_lock_id": None}
    newer = browser.submit(again, drawn(truth(1)), lead_time=2)
    delete(administrator, f"annotations/{given[lost.pk][1]}")
    correct(browser, given[skipped.pk][1], [], was_cancelled=True)
    assert poll(campaign) == ""
    assert (mask_of(double.image) == truth(1)).all()
    delete(administrator, f"annotations/{newer}")
    assert poll(campaign) == ""

    assert (mask_of(changed.image) == truth(moved)).all()
    assert (mask_of(double.image) == truth(0)).all()
    assert set(Label.objects.that_count().values_list("image", flat=True)) == {changed.image_id, double.image_id}
    untouched.refresh_from_db()
    assert (untouched.label, untouched.skipped_at) == (None, None)
    once = Label.objects.count()
    inbox.reconcile(campaign.labelling_project, from_the_start=True)
    assert Label.objects.count() == once


def test_bells_that_come_twice_at_once_or_too_late_store_every_answer_once(campaign, ask, truth, drawn, browser):
    ask(campaign, 4)
    outbox.push(campaign)
    project = campaign.labelling_project
    start = threading.Barrier(3)

    def ring(_: int) -> None:
        start.wait()
        tasks.reconcile(project.pk)
        connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        for number in range(4):
            browser.submit(browser.next_task(project.remote_id), drawn(truth(number)), lead_time=2)
            list(pool.map(ring, range(3)))
    tasks.reconcile(project.pk)

    assert Label.objects.count() == 4
    assert RemoteAnnotation.objects.count() == 4


def test_what_cannot_be_taken_is_reported_and_the_rest_of_the_batch_arrives(
    campaign, ask, truth, drawn, browser, administrator, settings, client, django_user_model
):
    broken, foreign, unknown, gone, fine = acquisitions = ask(campaign, 5)
    outbox.push(campaign)
    task_of = dict(Task.objects.values_list("acquisition", "remote_id"))
    there = campaign.labelling_project.remote_id
    stranger = f"stranger-{time.time_ns()}@example.org"
    administrator.sign_up(stranger, PASSWORD)
    regions = {one.pk: drawn(truth(1)) for one in acquisitions}
    regions[broken.pk][0]["value"]["rle"] = [1, 2, 3]
    regions[foreign.pk][0]["value"]["brushlabels"] = ["rust"]
    with Browser(settings.LABEL_STUDIO_PUBLIC_URL, stranger, PASSWORD) as somebody:
        for one in acquisitions:
            hand = somebody if one == unknown else browser
            if one != gone:
                hand.submit({"id": task_of[one.pk], "project": there}, regions[one.pk], lead_time=2)
    delete(administrator, f"tasks/{task_of[gone.pk]}")

    assert poll(campaign) == ""

    assert list(Label.objects.values_list("image", flat=True)) == [fine.image_id]
    gone.refresh_from_db()
    assert gone.skipped_at is not None
    client.force_login(django_user_model.objects.create_user("somebody"))
    page = client.get(f"/campaigns/{campaign.pk}/").content.decode()
    for words in (
        "region 1: brush",
        "unknown class &#x27;rust&#x27;",
        "has no login in Burnish",
        "was deleted in Label Studio",
    ):
        assert words in page
