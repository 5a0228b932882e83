import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from labelling import inbox, outbox, tasks
from labelling.models import LabellingProject, Task

pytestmark = pytest.mark.django_db


def test_every_minute_sends_what_is_unsent_and_reads_what_came(campaign, ask, anna, remote, rings, truth, drawn):
    acquisitions = ask(campaign, 2)
    tasks.reconcile_all()
    assert Task.objects.count() == 2
    remote.answer(acquisitions[0].task.remote_id, drawn(truth(0)))

    tasks.reconcile_all()

    acquisitions[0].refresh_from_db()
    assert acquisitions[0].label is not None


def test_one_broken_campaign_does_not_stop_the_others(asked, remote, rings, monkeypatch):
    def break_down(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(outbox, "push", break_down)

    tasks.reconcile_all()

    assert LabellingProject.objects.get().polled_at is not None


def test_late_answers_to_a_closed_campaign_are_read(asked, campaign, anna, remote, rings, truth, drawn):
    campaign.closed_at = campaign.created_at
    campaign.save()
    remote.answer(asked[0].task.remote_id, drawn(truth(0)))

    tasks.reconcile_all()

    asked[0].refresh_from_db()
    assert asked[0].label is not None


def test_a_closed_campaign_is_asked_once_an_hour(asked, campaign, remote, rings):
    campaign.closed_at = campaign.created_at
    campaign.save()
    tasks.reconcile_all()
    remote.calls.clear()

    tasks.reconcile_all()

    assert remote.calls == []


def test_a_closed_campaign_is_asked_again_until_label_studio_answers(asked, campaign, remote, rings):
    campaign.closed_at = campaign.created_at
    campaign.save()
    tasks.reconcile_all()
    LabellingProject.objects.update(error="could not be reached", polled_at=timezone.now())

    tasks.reconcile_all()

    assert LabellingProject.objects.get().error == ""


def test_a_push_wakes_the_script_of_a_scripted_campaign_only(campaign, ask, remote, rings):
    ask(campaign, 1)
    tasks.push(campaign.pk)
    assert rings == []

    campaign.scripted = True
    campaign.save()
    tasks.push(campaign.pk)

    assert rings == [("labelling.tasks.answer", campaign.pk)]


def test_a_queue_that_cannot_be_reached_is_no_error(monkeypatch):
    refused = []

    def refuse(*given: object, **_: object) -> None:
        refused.append(given)
        raise OperationalError

    monkeypatch.setattr(tasks.reconcile, "apply_async", refuse)

    tasks.ring(tasks.reconcile, 1)

    assert len(refused) == 1


def test_reconcile_now_reads_everything_again(asked, anna, remote, rings, admin_client, truth, drawn, monkeypatch):
    remote.answer(asked[0].task.remote_id, drawn(truth(0)))
    inbox.reconcile(LabellingProject.objects.get())
    read = []
    monkeypatch.setattr(inbox, "read_task", lambda _, task: read.append(task.id) or False)

    response = admin_client.post(
        "/admin/labelling/labellingproject/",
        {"action": "reconcile_now", "_selected_action": [LabellingProject.objects.get().pk]},
        follow=True,
    )

    assert "up to date" in response.content.decode()
    assert len(read) == 3


@pytest.mark.parametrize("page", ["labellingproject", "task", "remoteannotation", "annotator"])
def test_the_admin_pages_show(asked, anna, remote, rings, admin_client, truth, drawn, page):
    remote.answer(asked[0].task.remote_id, drawn(truth(0)), by=999)
    inbox.reconcile(LabellingProject.objects.get())

    response = admin_client.get(f"/admin/labelling/{page}/")

    assert response.status_code == 200
    if page == "remoteannotation":
        assert "has no login in Burnish" in response.content.decode()
