"""What an annotator's browser sends, against a real Label Studio."""

from uuid import uuid4

import pytest

from annotation.browser import Browser
from annotation.client import LabelStudio, LabelStudioError
from annotation.task_json import task

pytestmark = pytest.mark.acceptance

PASSWORD = "Passw0rd-of-a-test"


@pytest.fixture(scope="module")
def people(label_studio):
    """Two annotators, logged in."""
    emails = [f"{uuid4().hex[:12]}@burnish.example" for _ in range(2)]
    with LabelStudio(label_studio.url, label_studio.token) as remote:
        for email in emails:
            remote.sign_up(email, PASSWORD)
    browsers = [Browser(label_studio.public_url, email, PASSWORD) for email in emails]
    yield browsers
    for browser in browsers:
        browser.close()


def _fill(remote, project, scores):
    tasks = [
        task(image="/i.png", name="i", acquisition=i, score=score, model_version="m1", mask=None, classes=["scratch"])
        for i, score in enumerate(scores)
    ]
    remote.import_tasks(project, tasks)
    remote.set_model_version(project, "m1")


def test_tasks_come_in_the_order_of_their_scores_until_the_queue_is_empty(remote, project, people):
    _fill(remote, project, [0.5, 0.000002, 1.0, 0.000001])
    browser = people[0]
    order = []

    while shown := browser.next_task(project):
        order.append(shown["data"]["acquisition"])
        browser.submit(shown, [], lead_time=0.1)

    assert order == [3, 1, 0, 2]
    assert remote.counts(project).finished == 4


def test_two_people_are_never_shown_the_same_task(remote, project, people):
    _fill(remote, project, [0.1, 0.2])
    one, other = people

    first, second = one.next_task(project), other.next_task(project)

    assert first["id"] != second["id"]
    assert one.next_task(project)["id"] == first["id"]


def test_a_skipped_task_does_not_come_back_to_the_same_person(remote, project, people):
    _fill(remote, project, [0.1, 0.2])
    browser = people[0]
    skipped = browser.next_task(project)

    browser.skip(skipped, lead_time=0.5)

    assert browser.next_task(project)["id"] != skipped["id"]
    assert remote.counts(project).skipped == 1


def test_a_second_click_on_submit_is_refused(remote, project, people):
    _fill(remote, project, [0.1])
    shown = people[0].next_task(project)
    people[0].submit(shown, [], lead_time=1.0)

    with pytest.raises(LabelStudioError) as error:
        people[0].submit(shown, [], lead_time=1.0)

    assert error.value.status == 409
    assert remote.counts(project).annotations == 1


def test_the_answer_is_the_persons(remote, project, people):
    _fill(remote, project, [0.1])

    people[1].submit(people[1].next_task(project), [], lead_time=2.0)

    (changed,) = remote.tasks_changed_since(project, None)
    assert changed.annotations[0].completed_by == people[1].user_id()


def test_requests_carry_session_and_csrf_token_and_nothing_stronger(label_studio, people):
    request = people[0]._request("ask", "GET", "/api/current-user/whoami").request

    assert {"sessionid", "csrftoken"} <= {part.split("=")[0].strip() for part in request.headers["Cookie"].split(";")}
    assert request.headers["X-CSRFToken"] == people[0]._http.cookies["csrftoken"]
    assert "Authorization" not in request.headers


def test_a_wrong_password_is_told(label_studio):
    with pytest.raises(LabelStudioError, match="don't match"):
        Browser(label_studio.public_url, label_studio.admin_email, "wrong")
