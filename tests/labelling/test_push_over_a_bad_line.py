"""Out to a real Label Studio: killed between any two steps, cut off at any request, and run again."""

import time
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from django.db import connection

from annotation import task_json
from annotation.browser import Browser
from annotation.client import LabelStudio
from labelling import inbox, outbox, people
from labelling.models import Task
from rounds.campaigns import create_campaign
from rounds.models import Campaign

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("rings"),
]
PASSWORD = "burnish-this-surface"


@pytest.fixture
def administrator(label_studio):
    """On a good line of their own."""
    with LabelStudio(label_studio.url, label_studio.token) as remote:
        yield remote


@pytest.fixture
def steps(monkeypatch) -> Callable[[int | None], None]:
    """Die after the step with this number, where a step is a request to Label Studio or a write to our database."""
    left: list[int | None] = [None]
    send = httpx.Client.send

    def taken() -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                left[0] = None
                raise KeyboardInterrupt

    def sent(*args: object, **how: object) -> httpx.Response:
        answer = send(*args, **how)
        taken()
        return answer

    def written(execute, sql, *rest):
        answer = execute(sql, *rest)
        if sql.startswith(("INSERT", "UPDATE")):
            taken()
        return answer

    monkeypatch.setattr(httpx.Client, "send", sent)
    with connection.execute_wrapper(written):
        yield lambda number: left.__setitem__(0, number)


def shown(administrator, campaign) -> dict[int, list[np.ndarray]]:
    """Acquisition -> the masks of its tasks' predictions."""
    rows = administrator._tasks(
        campaign.labelling_project.remote_id, {}, fields="all", include="id,data,predictions,result"
    )
    found: dict[int, list[np.ndarray]] = {}
    for row in rows:
        for one in row["predictions"]:
            mask = task_json.read_answer(one["result"], classes=["scratch", "patch"], size=(48, 32)).mask
            found.setdefault(row["data"]["acquisition"], []).append(mask)
    return found


def dies(work: Callable[[], None]) -> bool:
    try:
        work()
    except KeyboardInterrupt:
        return True
    return False


def assert_all_are_there_once(administrator, campaign, acquisitions, mask) -> None:
    there = shown(administrator, campaign)
    assert {pk: len(masks) for pk, masks in there.items()} == {one.pk: 1 for one in acquisitions}
    assert all((masks[0] == mask).all() for masks in there.values())
    ours = dict(Task.objects.filter(project__campaign=campaign).values_list("acquisition", "remote_id"))
    assert administrator.tasks_by_acquisition(campaign.labelling_project.remote_id, list(ours)) == ours
    assert campaign.labelling_project.error == ""


@pytest.mark.timeout(900)
def test_a_push_killed_after_any_step_leaves_neither_hole_nor_double(project, ask, truth, steps, administrator):
    number, died = 0, True
    while died:
        campaign = create_campaign(
            project, name=f"killed after {number}", recipe_name="supervised", budget=60, first_batch=3, batch=3, max_rounds=3
        )  # fmt: skip
        acquisitions = ask(campaign, 2, masks=[truth(0)] * 2)

        steps(number)
        died = dies(lambda campaign=campaign: outbox.push(campaign))
        steps(None)
        outbox.push(campaign)

        assert_all_are_there_once(administrator, Campaign.objects.get(pk=campaign.pk), acquisitions, truth(0))
        Campaign.objects.filter(pk=campaign.pk).update(closed_at=campaign.created_at)
        number += 1

    assert number > 10


def test_replacing_masks_killed_after_any_step_leaves_every_task_one_that_is_right(
    campaign, ask, predict_again, truth, steps, administrator
):
    acquisitions = ask(campaign, 2, masks=[truth(0)] * 2)
    outbox.push(campaign)
    number, died = 0, True
    while died:
        mask = truth(number % 2 + 1)
        predict_again(campaign, [one.image for one in acquisitions], mask)

        steps(number)
        died = dies(lambda: outbox._show_latest_masks(administrator, campaign.labelling_project))
        steps(None)
        assert {len(masks) for masks in shown(administrator, campaign).values()} == {1}
        outbox.push(campaign)

        assert_all_are_there_once(administrator, campaign, acquisitions, mask)
        number += 1

    assert number == 1 + 2 * 3 + 1  # which predictions they are; mask, name and row of each; the last went through


@pytest.mark.parametrize("fault", ["lose", "late", "cut"])
def test_an_import_whose_answer_is_lost_or_that_comes_late_is_there_once(
    campaign, ask, truth, administrator, line, fault
):
    acquisitions = ask(campaign, 3, masks=[truth(1)] * 3)
    line.plan = lambda _, path: fault if "/import?" in path else ""
    outbox.push(campaign)
    assert campaign.labelling_project.error
    line.is_fine()
    outbox.push(campaign)
    line.deliver()
    there = administrator.counts(campaign.labelling_project.remote_id).tasks
    assert there == (6 if fault == "late" else 3), "the control: a late one doubles them"

    inbox.reconcile(campaign.labelling_project)
    campaign.labelling_project.refresh_from_db()

    assert_all_are_there_once(administrator, campaign, acquisitions, truth(1))


def test_masks_are_replaced_while_people_look_and_the_newer_round_comes_first_at_once(
    campaign, ask, predict_again, truth, drawn, administrator, label_studio
):
    bert = people.add_annotator(f"bert-{time.time_ns()}@example.org", PASSWORD)
    older = ask(campaign, 2, masks=[truth(0)] * 2)
    outbox.push(campaign)
    there = campaign.labelling_project.remote_id
    with Browser(label_studio.public_url, bert.user.username, PASSWORD) as browser:
        opened = browser.next_task(there)
        assert opened["data"]["acquisition"] == older[0].pk

        newer = ask(campaign, 1)
        predict_again(campaign, [one.image for one in older], truth(1))
        outbox.push(campaign)
        prediction = opened["predictions"][0]
        browser.submit(opened, prediction["result"], lead_time=2, parent_prediction=prediction["id"])
        queue = []
        while task := browser.next_task(there):
            queue.append(task["data"]["acquisition"])
            browser.submit(task, [], lead_time=1)

    assert queue == [newer[0].pk, older[1].pk]
    assert [
        (masks[0] == truth(1)).all() for pk, masks in shown(administrator, campaign).items() if pk != newer[0].pk
    ] == [True] * 2
    assert administrator.counts(there).predictions == 3
