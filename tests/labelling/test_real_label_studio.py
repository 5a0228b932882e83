"""Out to a real Label Studio and back, as people and their browsers do it."""

import time

import numpy as np
import pytest
from django.test import Client

from annotation import task_json
from annotation.browser import Browser
from annotation.masks import read_index_mask
from catalog import files
from catalog.models import Label
from labelling import inbox, outbox, people, script, studio, tasks
from labelling.models import LabellingProject, RemoteAnnotation, Task
from rounds.campaigns import create_campaign
from rounds.models import Campaign

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("label_studio", "rings"),
]
PASSWORD = "burnish-this-surface"
SIZE = (48, 32)
CLASSES = ["scratch", "patch"]


@pytest.fixture
def bert(request):
    """An annotator, made for this test alone."""
    return people.add_annotator(f"bert-{time.time_ns()}@example.org", PASSWORD)


@pytest.fixture
def browser(bert, settings):
    with Browser(settings.LABEL_STUDIO_PUBLIC_URL, bert.user.username, PASSWORD) as browser:
        yield browser


@pytest.fixture
def scripted(project) -> Campaign:
    return create_campaign(
        project, name="by script", recipe_name="supervised", budget=60, first_batch=3, batch=3, max_rounds=3, scripted=True
    )  # fmt: skip


@pytest.fixture
def poll(campaign):
    return lambda: inbox.reconcile(LabellingProject.objects.get(campaign=campaign))


def mask_of(label: Label) -> np.ndarray:
    return read_index_mask(files.absolute(label.path), len(CLASSES), SIZE)


def test_thirty_tasks_come_in_our_order_with_their_masks_and_return_as_labels(
    campaign, ask, truth, bert, browser, settings, poll
):
    predicted = [truth(n + n % 3) for n in range(30)]  # every third is right
    acquisitions = ask(campaign, 30, masks=predicted)
    outbox.push(campaign)
    there = campaign.labelling_project.remote_id
    assert campaign.labelling_project.error == ""

    for rank, acquisition in enumerate(acquisitions):
        task = browser.next_task(there)
        assert task["data"]["acquisition"] == acquisition.pk
        assert task["data"]["model"] == "v1"
        (prediction,) = task["predictions"]
        shown = task_json.read_answer(prediction["result"], classes=CLASSES, size=SIZE)
        assert (shown.mask == predicted[rank]).all()
        if rank == 0:
            image = browser._http.get(task["data"]["image"])
            assert image.content == files.absolute(acquisition.image.view).read_bytes()
        regions, seconds = script.corrected(prediction["result"], truth(rank), CLASSES)
        browser.submit(task, regions, lead_time=seconds, parent_prediction=prediction["id"])
    assert browser.next_task(there) is None
    poll()

    for rank, acquisition in enumerate(acquisitions):
        acquisition.refresh_from_db()
        label = acquisition.label
        assert (mask_of(label) == truth(rank)).all()
        assert (label.image, label.annotator) == (acquisition.image, bert.user)
        assert label.seconds >= script.LOOKING
        if rank % 3 == 0:
            assert set(label.origins) <= {"prediction"}
    everything = Label.objects.values_list("origins", flat=True)
    assert {origin for origins in everything for origin in origins} == {"prediction", "prediction-changed", "manual"}
    with studio.client() as remote:
        counts = remote.counts(there)
    assert (counts.tasks, counts.predictions, counts.annotations) == (30, 30, Label.objects.count())


def test_a_newer_round_is_asked_first_and_older_tasks_keep_their_masks(campaign, ask, truth, browser):
    ask(campaign, 2, masks=[truth(0), truth(1)])
    outbox.push(campaign)
    newer = ask(campaign, 2)
    outbox.push(campaign)
    there = campaign.labelling_project.remote_id

    seen = []
    while task := browser.next_task(there):
        seen.append((task["data"]["acquisition"] in {one.pk for one in newer}, bool(task["predictions"][0]["result"])))
        browser.submit(task, [], lead_time=1)

    assert seen == [(True, False), (True, False), (False, True), (False, True)]


def test_a_push_that_died_after_the_import_is_taken_up_without_doubles(campaign, ask, truth, monkeypatch):
    ask(campaign, 5, masks=[truth(n) for n in range(5)])
    with monkeypatch.context() as patched:
        patched.setattr(Task.objects, "bulk_create", _die)
        with pytest.raises(KeyboardInterrupt):
            outbox.push(campaign)

    outbox.push(campaign)

    with studio.client() as remote:
        assert remote.counts(campaign.labelling_project.remote_id).tasks == 5
        assert remote.task_ids(campaign.labelling_project.remote_id) == set(
            Task.objects.values_list("remote_id", flat=True)
        )


def test_corrections_skips_and_deletions_arrive(campaign, ask, truth, drawn, browser, poll):
    corrected, deleted, skipped = ask(campaign, 3)
    outbox.push(campaign)
    there = campaign.labelling_project.remote_id
    numbers = [browser.submit(browser.next_task(there), drawn(truth(0)), lead_time=2) for _ in range(2)]
    browser.skip(browser.next_task(there))
    poll()
    assert Label.objects.that_count().count() == 2
    skipped.refresh_from_db()
    assert skipped.skipped_at is not None

    # Beside the proxy, which lets annotators correct but not delete.
    with studio.client() as remote:
        remote._request("correct", "PATCH", f"api/annotations/{numbers[0]}/", body={"result": drawn(truth(1))})
        remote._http.delete(
            f"{remote._url}/api/annotations/{numbers[1]}/", headers=remote._sdk._client_wrapper.get_headers()
        ).raise_for_status()
    poll()

    (label,) = Label.objects.that_count()
    assert label.image == corrected.image
    assert (mask_of(label) == truth(1)).all()
    assert Label.objects.filter(image=deleted.image, withdrawn=True).count() == 1


def test_a_broken_answer_is_a_problem_and_the_next_one_arrives(campaign, ask, truth, drawn, browser, poll):
    ask(campaign, 2)
    outbox.push(campaign)
    there = campaign.labelling_project.remote_id
    broken = drawn(truth(1))
    broken[0]["value"]["rle"] = [1, 2, 3]
    browser.submit(browser.next_task(there), broken, lead_time=2)
    browser.submit(browser.next_task(there), drawn(truth(1)), lead_time=2)

    poll()

    assert Label.objects.count() == 1
    assert RemoteAnnotation.objects.exclude(problem="").count() == 1


def test_submit_rings_our_bell_at_once(campaign, ask, truth, drawn, browser, live_server, settings, rings):
    settings.WEBHOOK_URL = live_server.url
    settings.WEBHOOK_SECRET = "a shared secret"
    ask(campaign, 1)
    outbox.push(campaign)
    rings.clear()

    browser.submit(browser.next_task(campaign.labelling_project.remote_id), drawn(truth(1)), lead_time=2)

    assert ("labelling.tasks.reconcile", campaign.labelling_project.pk) in rings
    tasks.reconcile(campaign.labelling_project.pk)
    assert Label.objects.count() == 1


def test_the_script_answers_everything_and_goes_on_where_it_died(scripted, ask, truth, monkeypatch):
    acquisitions = ask(scripted, 6, masks=[truth(n + n % 2) for n in range(6)])
    tasks.push(scripted.pk)
    with monkeypatch.context() as patched:
        patched.setattr(Browser, "skip", _die)
        submit, left = Browser.submit, iter([True, True])
        patched.setattr(Browser, "submit", lambda *args, **how: submit(*args, **how) if next(left, None) else _die())
        with pytest.raises(KeyboardInterrupt):
            tasks.answer(scripted.pk)

    tasks.answer(scripted.pk)
    inbox.reconcile(scripted.labelling_project)

    scripted.refresh_from_db()
    for number, acquisition in enumerate(acquisitions):
        acquisition.refresh_from_db()
        assert (mask_of(acquisition.label) == truth(number)).all()
        assert (acquisition.label.annotator, acquisition.label.scripted) == (scripted.script_user, True)
    assert Label.objects.count() == 6
    assert not script.has_work(scripted)


def test_a_login_works_in_both_systems(bert, browser):
    assert browser.user_id() == bert.remote_id

    assert Client().login(username=bert.user.username, password=PASSWORD)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
