"""What a push costs beside a bare POST of the very same JSON, taking turns."""

import time

import httpx
import pytest

from annotation.client import LabelStudio
from annotation.label_config import label_config
from labelling import outbox, studio

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("label_studio", "rings"),
]
TASKS = 300
TURNS = 2


@pytest.fixture
def sent(monkeypatch):
    """The body of every import, as it goes out."""
    bodies = []
    request = LabelStudio._request

    def recorded(self, doing, method, path, **options):
        if path.endswith("/import"):
            bodies.append(options["body"])
        return request(self, doing, method, path, **options)

    monkeypatch.setattr(LabelStudio, "_request", recorded)
    return bodies


def seconds(function, *arguments) -> float:
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def test_a_push_costs_little_beside_a_bare_post_of_the_same_json(campaign, ask, truth, sent, settings):
    ask(campaign, 3, masks=[truth(0)] * 3)
    outbox.push(campaign)  # makes the project
    with studio.client() as remote:
        bare = remote.create_project("bare", label_config=label_config(outbox._classes(campaign.project)))
    pushes, posts = [], []
    for _ in range(TURNS):
        ask(campaign, TASKS, masks=[truth(number) for number in range(TASKS)])
        pushes.append(seconds(outbox.push, campaign))
        assert len(sent[-1]) == TASKS
        posts.append(seconds(post, settings, bare, sent[-1]))

    quickest, bare_one = min(pushes), min(posts)
    print(f"\n{TASKS} tasks with masks: push {quickest:.2f} s, POST {bare_one:.2f} s")
    # A dozen requests that do not grow with the batch, and as much again for a machine that does other things too.
    assert quickest < 2 * bare_one + 2


def post(settings, project, body) -> None:
    httpx.post(
        f"{settings.LABEL_STUDIO_URL}/api/projects/{project}/import", json=body, timeout=120,
        headers={"Authorization": f"Token {settings.LABEL_STUDIO_TOKEN}"},
    ).raise_for_status()  # fmt: skip
