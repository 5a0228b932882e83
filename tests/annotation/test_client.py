"""The client against a real Label Studio."""

import json
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import uuid4

import httpx
import numpy as np
import pytest
from label_studio_sdk import LabelStudio as Sdk

from annotation.browser import Browser
from annotation.client import LabelStudio, LabelStudioError, ProjectCounts
from annotation.label_config import label_config
from annotation.masks import named
from annotation.task_json import local_file_url, read_answer, task

CLASSES = ["scratch", "patch"]
PASSWORD = "Passw0rd-of-a-test"
MASK = np.zeros((30, 40), np.uint8)
MASK[5:20, 10:30] = 1
MASK[15:25, 20:38] = 2

acceptance = pytest.mark.acceptance


def _tasks(count, *, first=0, mask=MASK, version="m1", image="/none.png"):
    """Tasks of the acquisitions first, first + 1, ...; the later the acquisition, the earlier its turn."""
    return [
        task(image=image, name=f"{i}.png", acquisition=first + i, score=1 - i / count, model_version=version, mask=mask, classes=CLASSES)
        for i in range(count)
    ]  # fmt: skip


def _email():
    return f"{uuid4().hex[:12]}@burnish.example"


def _sdk(label_studio):
    return Sdk(base_url=label_studio.url, api_key=label_studio.token)


@acceptance
def test_it_says_its_version_and_whose_token_it_is(remote, label_studio):
    assert remote.health().startswith("1.23")
    assert remote.current_user().email == label_studio.admin_email


@acceptance
def test_a_project_orders_its_queue_by_our_scores_and_accepts_empty_answers(remote, project, label_studio):
    row = _sdk(label_studio).projects.get(project)

    assert (row.sampling, row.show_collab_predictions, row.enable_empty_annotation) == (
        "Uncertainty sampling",
        True,
        True,
    )


@acceptance
def test_a_projects_texts_and_classes_are_brought_up_to_date(remote, project, label_studio):
    config = label_config(named([*CLASSES, '<new> & "odd"']))

    remote.update_project(project, title="renamed", label_config=config, description="d", instructions="<b>guide</b>")

    row = _sdk(label_studio).projects.get(project)
    assert (row.title, row.description, row.expert_instruction, row.show_instruction) == (
        "renamed", "d", "<b>guide</b>", True,
    )  # fmt: skip
    assert list(row.parsed_label_config["mask"]["labels"]) == [*CLASSES, '<new> & "odd"']


@acceptance
def test_a_project_is_found_by_its_description(remote, label_studio):
    description = f"campaign {uuid4()}"
    made = remote.create_project("found again", label_config=label_config(named(CLASSES)), description=description)

    assert remote.find_project(description) == made
    assert remote.find_project(f"campaign {uuid4()}") is None


@acceptance
def test_a_permitted_folder_is_served_to_annotators_and_no_other(remote, project, label_studio):
    permitted, other = (label_studio.views / f"client-{name}-{uuid4().hex[:6]}" for name in ("permitted", "other"))
    for folder in (permitted, other):
        folder.mkdir(parents=True)
        (folder / "a b.png").write_bytes(b"\x89PNG")

    for _ in range(2):
        remote.permit_local_files(project, permitted)

    email = _email()
    remote.sign_up(email, PASSWORD)
    with Browser(label_studio.url, email, PASSWORD) as browser:
        statuses = [
            browser._http.get(local_file_url(f"{folder.name}/a b.png")).status_code for folder in (permitted, other)
        ]
    assert statuses == [200, 404]
    assert len(_sdk(label_studio).import_storage.local.list(project=project)) == 1
    assert remote.counts(project).tasks == 0


@acceptance
def test_a_folder_outside_the_document_root_is_refused(remote, project, tmp_path):
    with pytest.raises(LabelStudioError, match="must be a subdirectory") as error:
        remote.permit_local_files(project, tmp_path)

    assert error.value.status == 400


@acceptance
def test_imported_tasks_are_found_by_their_acquisitions(remote, project):
    ids = remote.import_tasks(project, _tasks(5, first=100))

    found = remote.tasks_by_acquisition(project, [100, 104, 999])

    assert set(found) == {100, 104}
    assert remote.task_ids(project) == set(ids)
    assert set(found.values()) < set(ids)
    assert remote.counts(project) == ProjectCounts(tasks=5, finished=0, annotations=0, skipped=0, predictions=5)


@acceptance
def test_more_acquisitions_than_fit_one_address_are_found(remote, project):
    remote.import_tasks(project, _tasks(450, first=10_000_000, mask=None))

    found = remote.tasks_by_acquisition(project, range(10_000_000, 10_001_000))

    assert sorted(found) == list(range(10_000_000, 10_000_450))


@acceptance
def test_a_prediction_that_the_project_does_not_know_is_refused_and_nothing_is_stored(remote, project):
    bad = _tasks(3)
    bad[1]["predictions"][0]["result"][0]["from_name"] = "no such control"

    with pytest.raises(LabelStudioError):
        remote.import_tasks(project, bad)

    assert remote.counts(project).tasks == 0


def test_an_import_of_which_predictions_were_dropped_is_taken_back_and_raises():
    deleted = []

    class Dropping(BaseHTTPRequestHandler):
        """Answers as Label Studio does when it drops predictions: 201, and a smaller count."""

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "delete_tasks" in self.path:
                deleted.extend(body["selectedItems"]["included"])
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"task_count": 2, "prediction_count": 1, "task_ids": [7, 8]}).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dropping)
    Thread(target=server.serve_forever, daemon=True).start()

    with (
        LabelStudio(f"http://127.0.0.1:{server.server_port}", "t" * 40) as remote,
        pytest.raises(LabelStudioError, match="2 tasks with 1 predictions of 2 with 2 sent"),
    ):
        remote.import_tasks(1, _tasks(2))

    server.shutdown()
    server.server_close()
    assert deleted == [7, 8]


@acceptance
def test_a_model_version_without_predictions_is_refused(remote, project):
    remote.import_tasks(project, _tasks(1))

    remote.set_model_version(project, "m1")
    with pytest.raises(LabelStudioError, match="Model version doesn't exist"):
        remote.set_model_version(project, "m2")


@acceptance
def test_changes_are_listed_from_a_moment_on_with_their_annotations(remote, project, label_studio):
    ids = remote.import_tasks(project, _tasks(4))
    remote.set_model_version(project, "m1")
    imported = max(one.updated_at for one in remote.tasks_changed_since(project, None))
    with Browser(label_studio.url, label_studio.admin_email, label_studio.admin_password) as browser:
        shown = browser.next_task(project)
        prediction = shown["predictions"][0]
        annotation = browser.submit(shown, prediction["result"], lead_time=12.5, parent_prediction=prediction["id"])
        skipped = browser.next_task(project)
        browser.skip(skipped, lead_time=1.5)

    later = imported + timedelta(microseconds=1)
    changed = list(remote.tasks_changed_since(project, later.astimezone(timezone(timedelta(hours=5)))))

    assert [one.id for one in changed] == [shown["id"], skipped["id"]]
    assert {one.id for one in remote.tasks_changed_since(project, None)} == set(ids)
    submitted, given_up = (one.annotations[0] for one in changed)
    assert (submitted.id, submitted.lead_time, submitted.was_cancelled) == (annotation, 12.5, False)
    assert (submitted.parent_prediction, submitted.completed_by) == (prediction["id"], remote.current_user().id)
    assert (read_answer(submitted.result, classes=CLASSES, size=(40, 30)).mask == MASK).all()
    assert (given_up.was_cancelled, given_up.result, given_up.lead_time) == (True, (), 1.5)
    assert list(remote.tasks_changed_since(project, datetime.now(UTC) + timedelta(hours=1))) == []


@acceptance
def test_a_deleted_annotation_shows_as_a_change_without_one(remote, project, label_studio):
    remote.import_tasks(project, _tasks(1))
    with Browser(label_studio.url, label_studio.admin_email, label_studio.admin_password) as browser:
        annotation = browser.submit(browser.next_task(project), [], lead_time=1.0)
    (answered,) = remote.tasks_changed_since(project, None)

    _sdk(label_studio).annotations.delete(annotation)

    (emptied,) = remote.tasks_changed_since(project, answered.updated_at + timedelta(microseconds=1))
    assert (emptied.id, emptied.annotations) == (answered.id, ())


@acceptance
def test_deleted_tasks_are_gone_from_the_ids(remote, project):
    first, second = remote.import_tasks(project, _tasks(2))

    remote.delete_tasks(project, [first])

    assert remote.task_ids(project) == {second}


@acceptance
def test_the_webhook_rings_with_the_secret_and_is_registered_once(remote, project, label_studio):
    rings = []

    class Bell(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rings.append((self.headers["X-Burnish-Secret"], self.headers["X-Burnish-Project"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bell)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    remote.ensure_webhook(project, url=url, secret="old")
    remote.ensure_webhook(project, url=url, secret="new")
    remote.import_tasks(project, _tasks(1))

    with Browser(label_studio.url, label_studio.admin_email, label_studio.admin_password) as browser:
        browser.submit(browser.next_task(project), [], lead_time=1.0)

    server.shutdown()
    server.server_close()
    assert rings == [("new", str(project), {"action": "ANNOTATION_CREATED"})]


@acceptance
def test_a_person_signed_up_twice_is_one_person_who_can_log_in(remote, label_studio):
    email = _email()

    first = remote.sign_up(email, PASSWORD)
    second = remote.sign_up(email.upper(), PASSWORD)

    assert first == second
    with Browser(label_studio.url, email, PASSWORD) as browser:
        assert browser.user_id() == first


@acceptance
def test_a_person_who_is_there_with_another_password_is_refused(remote):
    email = _email()
    remote.sign_up(email, PASSWORD)

    with pytest.raises(LabelStudioError, match="email and password you entered don't match"):
        remote.sign_up(email, "another-Passw0rd")


@acceptance
def test_a_password_too_weak_is_refused_with_label_studios_reason(remote):
    with pytest.raises(LabelStudioError, match="8–128 characters"):
        remote.sign_up(_email(), "1")


@acceptance
def test_a_wrong_token_is_told_without_showing_it(label_studio, caplog):
    caplog.set_level(logging.DEBUG)
    token = uuid4().hex + "deadbeef"

    with (
        LabelStudio(label_studio.url, token) as remote,
        pytest.raises(LabelStudioError, match="Check the token") as error,
    ):
        remote.current_user()

    assert error.value.status == 401
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    assert token not in caplog.text + str(error.value)


@pytest.mark.parametrize("token", ["", "two words", "secret\n", "sécret"])
def test_what_can_be_no_token_is_refused_without_showing_it(token):
    with pytest.raises(ValueError, match="expected a Label Studio token") as error:
        LabelStudio("http://127.0.0.1:9", token)

    assert not token or token not in str(error.value)


def test_a_label_studio_that_does_not_answer_is_told():
    with LabelStudio("http://127.0.0.1:9", "t" * 40) as remote:
        for ask in (remote.health, remote.current_user, lambda: remote.task_ids(1)):
            with pytest.raises(LabelStudioError, match=r"could not be reached to .* Check that it runs") as error:
                ask()
            assert error.value.status is None


def test_every_request_has_a_time_limit():
    with LabelStudio("http://127.0.0.1:9", "t" * 40) as remote:
        limits = remote._http.timeout

    assert None not in (limits.connect, limits.read, limits.write, limits.pool)
    assert isinstance(limits, httpx.Timeout)


@acceptance
def test_a_project_that_is_gone_is_told(remote):
    with pytest.raises(LabelStudioError, match="It was deleted there") as error:
        remote.counts(2**30)

    assert error.value.status == 404


@acceptance
@pytest.mark.timeout(120)
def test_two_thousand_tasks_with_predictions_go_in_whole(remote, project):
    ids = remote.import_tasks(project, _tasks(2000))

    counts = remote.counts(project)
    assert (len(ids), counts.tasks, counts.predictions) == (2000, 2000, 2000)
    assert Counter(remote.tasks_by_acquisition(project, range(2000)).values()) == Counter(ids)
