import pytest

from annotation import task_json
from annotation.client import LabelStudioError
from catalog.models import Label
from labelling import inbox, outbox
from labelling.models import LabellingProject, Task
from rounds.models import Acquisition, Status

pytestmark = pytest.mark.django_db


def test_every_acquisition_becomes_one_task_that_names_it(campaign, ask, remote):
    acquisitions = ask(campaign, 3)

    outbox.push(campaign)

    assert {task["data"]["acquisition"] for task in remote.tasks.values()} == {one.pk for one in acquisitions}
    assert set(Task.objects.values_list("acquisition", "remote_id")) == {
        (task["data"]["acquisition"], pk) for pk, task in remote.tasks.items()
    }


def test_the_project_carries_classes_guides_webhook_and_the_permit_for_its_views(campaign, ask, remote, settings):
    ask(campaign, 1)

    outbox.push(campaign)

    (there,) = remote.projects.values()
    assert there["title"] == "rail heads: first"
    assert 'value="scratch"' in there["label_config"]
    assert "Where a patch ends." in there["instructions"]
    assert there["folder"] == settings.VIEWS_DIR / str(campaign.project_id)
    assert there["webhook"] == {"url": f"{settings.WEBHOOK_URL}/hooks/label-studio/", "secret": "a shared secret"}


def test_people_see_the_mask_that_the_model_predicted_and_its_name(campaign, ask, remote, truth):
    ask(campaign, 2, masks=[truth(1), truth(3)])

    outbox.push(campaign)

    first, second = remote.tasks.values()
    assert first["data"]["model"] == "v1"
    for task, number in ((first, 1), (second, 3)):
        (prediction,) = task["predictions"]
        answer = task_json.read_answer(prediction["result"], classes=["scratch", "patch"], size=(48, 32))
        assert (answer.mask == truth(number)).all()


def test_a_task_without_a_model_begins_blank_but_keeps_its_place(campaign, ask, remote):
    ask(campaign, 2)

    outbox.push(campaign)

    predictions = [task["predictions"] for task in remote.tasks.values()]
    assert [(one["result"], one["score"]) for (one,) in predictions] == [([], 0.5), ([], 0.75)]


def test_newer_rounds_come_first_and_older_tasks_stay_visible(campaign, ask, remote, truth):
    ask(campaign, 3)
    outbox.push(campaign)
    ask(campaign, 2, masks=[truth(1), truth(2)])

    outbox.push(campaign)

    predictions = [task["predictions"][0] for task in remote.tasks.values()]
    scores = [one["score"] for one in predictions]
    assert sorted(range(5), key=scores.__getitem__) == [3, 4, 0, 1, 2]
    assert all(0 <= score < 1 for score in scores)
    (there,) = remote.projects.values()
    assert {one["model_version"] for one in predictions} == {there["model_version"]}


def test_scores_tell_a_thousand_ranks_of_a_late_round_apart():
    scores = [round(outbox.certainty(12, rank, 1000), task_json.SCORE_DIGITS) for rank in range(1000)]

    assert len(set(scores)) == 1000
    assert scores == sorted(scores)
    assert scores[-1] < outbox.certainty(11, 0, 1000)


def test_a_worker_that_dies_between_import_and_rows_doubles_nothing(campaign, ask, remote):
    ask(campaign, 3)

    def die() -> None:
        raise KeyboardInterrupt

    remote.after_import = die
    with pytest.raises(KeyboardInterrupt):
        outbox.push(campaign)
    remote.after_import = lambda: None
    assert not Task.objects.exists()

    outbox.push(campaign)

    assert len(remote.tasks) == 3
    assert Task.objects.count() == 3
    assert remote.projects[40]["model_version"] == outbox.MODEL_VERSION


def test_a_project_whose_creation_was_never_answered_is_not_made_twice(campaign, ask, remote):
    ask(campaign, 1)
    outbox.push(campaign)
    LabellingProject.objects.all().delete()

    outbox.push(campaign)

    assert list(remote.projects) == [40]
    assert len(remote.tasks) == 1


def test_nothing_to_send_asks_label_studio_nothing(asked, campaign, remote):
    remote.calls.clear()

    outbox.push(campaign)

    assert remote.calls == []


def test_an_import_that_was_refused_is_told_in_words_and_leaves_no_rows(campaign, ask, remote, monkeypatch):
    ask(campaign, 2)

    def refuse(*_: object) -> None:
        raise LabelStudioError("Label Studio stored 2 tasks with 1 predictions of 2 with 2 sent to project 40")

    monkeypatch.setattr(remote, "import_tasks", refuse)
    outbox.push(campaign)
    assert "2 tasks with 1 predictions" in campaign.labelling_project.error
    assert not Task.objects.exists()

    monkeypatch.undo()
    monkeypatch.setattr(outbox.studio, "client", lambda: remote)
    outbox.push(campaign)
    campaign.labelling_project.refresh_from_db()
    assert campaign.labelling_project.error == ""
    assert Task.objects.count() == 2


def test_a_label_studio_that_is_down_is_told_in_words(campaign, ask, remote):
    ask(campaign, 1)
    remote.down = True

    outbox.push(campaign)

    assert "could not be reached" in LabellingProject.objects.get().error


def test_a_refused_webhook_leaves_the_poll(campaign, ask, remote):
    ask(campaign, 1)
    remote.webhooks_refused = True

    outbox.push(campaign)

    assert len(remote.tasks) == 1
    assert LabellingProject.objects.get().error == ""


def test_a_cancelled_round_asks_nobody_until_it_is_retried(campaign, ask, remote):
    (acquisition,) = ask(campaign, 1)
    stages = acquisition.stage.round.stages.filter(kind="annotate")
    stages.update(status=Status.CANCELLED)

    outbox.push(campaign)
    assert remote.tasks == {}

    stages.update(status=Status.PENDING)
    outbox.push(campaign)
    assert len(remote.tasks) == 1


def test_after_a_round_open_tasks_show_the_newer_mask_and_blank_ones_stay_blank(
    campaign, ask, predict_again, remote, truth
):
    answered, opened = ask(campaign, 2, masks=[truth(0), truth(0)])
    (blank,) = ask(campaign, 1)
    outbox.push(campaign)
    assert not outbox.outdated(campaign).exists()
    label = Label.objects.create(image=answered.image, path="-", sha256="-", external_key="-")
    Acquisition.objects.filter(pk=answered.pk).update(label=label)

    predict_again(campaign, [answered.image, opened.image, blank.image], truth(1))
    outbox.push(campaign)

    shown = {task["data"]["acquisition"]: task for task in remote.tasks.values()}
    masks = {
        pk: task_json.read_answer(task["predictions"][0]["result"], classes=["scratch", "patch"], size=(48, 32)).mask
        for pk, task in shown.items()
    }
    assert (masks[answered.pk] == truth(0)).all()
    assert (masks[opened.pk] == truth(1)).all()
    assert not masks[blank.pk].any()
    assert [shown[one.pk]["data"]["model"] for one in (answered, opened, blank)] == ["v1", "v2", ""]
    assert not outbox.outdated(campaign).exists()


def test_a_double_that_an_import_made_too_late_is_deleted_and_what_is_not_ours_stays(asked, campaign, remote):
    project = LabellingProject.objects.get()
    tasks = outbox._tasks(campaign.project, asked[:1])
    foreign = [{"data": {"acquisition": 999}, "predictions": []}]
    late, other = remote.import_tasks(project.remote_id, tasks + foreign)

    inbox.reconcile(project)

    assert late not in remote.tasks
    assert other in remote.tasks
    assert {one.task.remote_id for one in asked} <= set(remote.tasks)
