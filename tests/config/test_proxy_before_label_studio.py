"""What the filter is for: an annotator's own browser, through the real proxy, against the real Label Studio."""

from uuid import uuid4

import httpx
import pytest

from annotation.browser import Browser
from annotation.client import LabelStudio, LabelStudioError
from annotation.label_config import label_config
from annotation.masks import named
from annotation.task_json import task

pytestmark = pytest.mark.acceptance
PASSWORD = "burnish-this-surface"

# {project}, {task}: where the annotator works; {answer}, {draft}: Anna's; {me}, {anna}: people; {prediction}: the task's.
DANGEROUS = [
    # deleting and changing what is not theirs
    ("DELETE", "/api/projects/{project}/", None),
    ("PATCH", "/api/projects/{project}/", {"title": "renamed"}),
    ("PATCH", "/api/projects/{project}", {"model_version": "none", "sampling": "Sequential sampling"}),
    ("POST", "/api/projects", {"title": "my own"}),
    ("DELETE", "/api/projects/{project}/tasks/", None),
    ("DELETE", "/api/projects/{project}/model-versions", {"model_version": "Burnish"}),
    ("POST", "/api/projects/{project}/import", [{"data": {"image": "/x.png"}}]),
    ("POST", "/api/projects/{project}/import/predictions", []),
    ("DELETE", "/api/tasks/{task}/", None),
    ("PATCH", "/api/tasks/{task}/", {"data": {"image": "/other.png"}}),
    ("DELETE", "/api/predictions/{prediction}/", None),
    ("PATCH", "/api/predictions/{prediction}/", {"score": 0}),
    ("POST", "/api/predictions/", {"task": 1, "result": []}),
    ("DELETE", "/api/annotations/{answer}/", None),
    ("POST", "/api/annotations/{answer}/convert-to-draft", {}),
    # bulk actions, also hidden behind the one that labelling needs
    ("POST", "/api/dm/actions?id=delete_tasks&project={project}", {"selectedItems": {"all": True}}),
    ("POST", "/api/dm/actions?id=delete_tasks_annotations&project={project}", {"selectedItems": {"all": True}}),
    ("POST", "/api/dm/actions?id=delete_tasks_predictions&project={project}", {"selectedItems": {"all": True}}),
    ("POST", "/api/dm/actions?id=next_task&id=delete_tasks&project={project}", {"selectedItems": {"all": True}}),
    ("POST", "/api/dm/actions?id=predictions_to_annotations&project={project}", {"selectedItems": {"all": True}}),
    ("POST", "/api/dm/actions?id=retrieve_tasks_predictions&project={project}", {"selectedItems": {"all": True}}),
    ("DELETE", "/api/dm/views/reset?project={project}", None),
    # other doors: tokens, people, invitations, the organisation
    ("POST", "/api/token/", {}),
    ("GET", "/api/token/", None),
    ("GET", "/api/current-user/token", None),
    ("POST", "/api/current-user/reset-token", {}),
    ("GET", "/api/jwt/settings", None),
    ("POST", "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}),
    ("GET", "/api/invite", None),
    ("POST", "/api/invite/reset-token", {}),
    ("POST", "/api/users/", {"email": "friend@example.org"}),
    ("PATCH", "/api/users/{me}/", {"is_superuser": True}),
    ("DELETE", "/api/users/{anna}/", None),
    ("DELETE", "/api/organizations/1/memberships/{anna}/", None),
    ("PUT", "/api/burnish/people/{anna}", {"active": False}),
    # ways to other data and other servers
    ("GET", "/api/projects/{project}/export?exportType=JSON", None),
    ("POST", "/api/projects/{project}/exports", {}),
    ("GET", "/api/webhooks/", None),
    ("POST", "/api/webhooks/", {"url": "http://127.0.0.1:9/", "project": 1}),
    ("GET", "/api/storages/localfiles?project={project}", None),
    ("POST", "/api/storages/localfiles", {"project": 1, "path": "/etc"}),
    ("POST", "/api/storages/s3", {"project": 1}),
    ("POST", "/api/ml/", {"project": 1, "url": "http://127.0.0.1:9/"}),
    ("GET", "/admin/", None),
    # another's answer, and an answer in another's name
    ("GET", "/api/annotations/{answer}/", None),
    ("PATCH", "/api/annotations/{answer}/", {"result": []}),
    ("GET", "/api/drafts/{draft}/", None),
    ("DELETE", "/api/drafts/{draft}/", None),
    ("GET", "/api/tasks/{task}/annotations/{answer}/drafts", None),
    ("POST", "/api/tasks/{task}/annotations", {"result": [], "completed_by": 1}),
]  # fmt: skip
MARK = "drawn-by-anna"  # the id of her region: nobody else may see it
READING = [
    "/api/tasks/{task}", "/api/tasks/{task}/annotations", "/api/tasks/{task}/drafts", "/api/tasks?project={project}&fields=all",
    "/api/projects/{project}/next", "/api/dm/tasks?project={project}",
]  # fmt: skip


@pytest.fixture(scope="module")
def administrator(label_studio):
    with LabelStudio(label_studio.url, label_studio.token) as remote:
        yield remote


def person(administrator, label_studio) -> Browser:
    email = f"{uuid4().hex[:12]}@example.org"
    administrator.sign_up(email, PASSWORD)
    return Browser(label_studio.public_url, email, PASSWORD)


@pytest.fixture(scope="module")
def place(administrator, label_studio):
    """A second-opinion task that Anna has answered, and begun to answer again; Bert is about to."""
    project = administrator.create_project("second opinions", label_config=label_config(named(["scratch"])))
    one = task(
        image="/x.png", name="1", acquisition=1, score=0.5, model_version="Burnish", mask=None, classes=["scratch"]
    )
    (number,) = administrator.import_tasks(project, [one])
    administrator.set_model_version(project, "Burnish")
    administrator._request("ask twice", "PATCH", f"api/projects/{project}", body={"maximum_annotations": 2})
    region = {"id": MARK, "type": "rectanglelabels", "from_name": "box", "to_name": "image", "original_width": 40,
              "original_height": 30, "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["scratch"]}}  # fmt: skip
    with person(administrator, label_studio) as anna:
        shown = anna.next_task(project)
        answer = anna.submit(shown, [region], lead_time=2)
        path = f"/api/tasks/{number}/drafts"
        draft = anna._request("keep a draft", "POST", path, json={"result": [region], "lead_time": 1}).json()["id"]
        names = {"project": project, "task": number, "answer": answer, "draft": draft, "anna": anna.user_id()}
    return names | {"prediction": shown["predictions"][0]["id"]}


@pytest.fixture(scope="module")
def bert(administrator, label_studio):
    with person(administrator, label_studio) as browser:
        yield browser


@pytest.mark.parametrize(("method", "path", "body"), DANGEROUS)
def test_what_an_annotator_must_not_do_is_refused(bert, place, administrator, method, path, body):
    before = administrator.counts(place["project"])

    answer = bert._http.request(method, path.format(**place, me=bert.user_id()), json=body, follow_redirects=False)

    assert answer.status_code == 403
    assert MARK not in answer.text
    assert administrator.counts(place["project"]) == before


@pytest.mark.parametrize("path", READING)
def test_what_another_drew_is_never_shown(bert, place, path):
    answer = bert._http.get(path.format(**place))

    assert answer.status_code in {200, 403, 404}
    assert MARK not in answer.text


def test_the_administrator_sees_what_was_drawn(place, administrator):
    assert MARK in str(administrator._request("look", "GET", f"api/tasks/{place['task']}"))


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
     {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-origin"}],
)  # fmt: skip
def test_what_another_sites_page_sends_is_refused(bert, place, headers):
    answer = bert._http.post(f"/api/tasks/{place['task']}/annotations", json={"result": []}, headers=headers)

    assert (answer.status_code, answer.text) == (403, "Sent by a page of another site.\n")


def test_labelling_correcting_and_skipping_work_and_their_own_answer_is_shown(bert, place, administrator, label_studio):
    # Bert himself: asking for the next task above has locked it for him, and it is the only one.
    bert._http.headers.update({"Origin": label_studio.public_url, "Sec-Fetch-Site": "same-origin"})
    shown = bert.next_task(place["project"])
    assert shown["annotations"] == []
    mine = bert.submit(shown, [], lead_time=1)
    bert._request("correct", "PATCH", f"/api/annotations/{mine}/", json={"result": [], "lead_time": 2})
    again = bert._request("look", "GET", f"/api/tasks/{place['task']}").json()
    assert [one["id"] for one in again["annotations"]] == [mine]
    bert._request("skip", "PATCH", f"/api/annotations/{mine}/", json={"result": [], "was_cancelled": True})

    assert administrator.counts(place["project"]).skipped == 1


def test_a_removed_person_is_out_at_once_and_the_task_they_held_is_free(administrator, label_studio):
    project = administrator.create_project("one task", label_config=label_config(named(["scratch"])))
    one = task(
        image="/x.png", name="1", acquisition=1, score=0.5, model_version="Burnish", mask=None, classes=["scratch"]
    )
    (number,) = administrator.import_tasks(project, [one])
    administrator.set_model_version(project, "Burnish")
    with person(administrator, label_studio) as goes, person(administrator, label_studio) as stays:
        assert goes.next_task(project)["id"] == number
        assert stays.next_task(project) is None, "the control: it is locked"
        who = goes.user_id()
        email = goes._http.get("/api/current-user/whoami").json()["email"]

        administrator.set_access(who, active=False)

        assert goes._http.get(f"/api/tasks/{number}").status_code == httpx.codes.UNAUTHORIZED
        with pytest.raises(LabelStudioError, match="don't match"):
            Browser(label_studio.public_url, email, PASSWORD)
        assert stays.next_task(project)["id"] == number

    administrator.set_access(who, active=True)
    with Browser(label_studio.public_url, email, PASSWORD) as back:
        assert back.user_id() == who
