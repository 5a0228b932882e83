import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from django.db import connection, connections

from annotation.masks import read_index_mask
from catalog import files
from catalog.locks import Work, one_at_a_time
from catalog.models import Label
from labelling import inbox, people
from labelling.models import Annotator, LabellingProject, RemoteAnnotation, Task

pytestmark = pytest.mark.django_db


@pytest.fixture
def reconcile(campaign):
    def reconcile(**how: bool) -> None:
        inbox.reconcile(LabellingProject.objects.get(campaign=campaign), **how)

    return reconcile


def counting_mask() -> np.ndarray:
    """Of the one label that counts."""
    (label,) = Label.objects.that_count()
    return read_index_mask(files.absolute(label.path), 2, (48, 32))


@pytest.fixture
def task(asked) -> int:
    """Number of the first task in Label Studio."""
    return asked[0].task.remote_id


def test_an_answer_becomes_a_label_with_mask_person_seconds_and_origins(
    asked, task, anna, remote, reconcile, rings, truth, drawn
):
    regions = drawn(truth(1), "prediction")
    regions[1]["origin"] = "prediction-changed"
    remote.answer(task, regions)

    reconcile()

    label = Label.objects.get()
    assert (read_index_mask(files.absolute(label.path), 2, (48, 32)) == truth(1)).all()
    assert (label.image, label.annotator, label.scripted) == (asked[0].image, anna, False)
    assert (label.seconds, label.origins) == (12.5, {"prediction": 1, "prediction-changed": 1})
    asked[0].refresh_from_db()
    assert asked[0].label == label
    assert ("rounds.tasks.advance", asked[0].campaign_id) in rings


def test_an_empty_answer_says_no_defect(asked, task, anna, remote, reconcile):
    remote.answer(task, [])

    reconcile()

    label = Label.objects.get()
    assert not read_index_mask(files.absolute(label.path), 2, (48, 32)).any()


def test_hearing_twice_stores_once_and_rings_once(asked, task, anna, remote, reconcile, rings, truth, drawn):
    remote.answer(task, drawn(truth(1)))
    reconcile()
    rings.clear()

    reconcile()
    reconcile(from_the_start=True)

    assert Label.objects.count() == 1
    assert rings == []


def test_a_correction_is_a_new_label_and_the_acquisition_keeps_its_first(
    asked, task, anna, remote, reconcile, truth, drawn
):
    first = remote.answer(task, drawn(truth(0)))
    reconcile()
    remote.correct(task, first, result=tuple(drawn(truth(1))))

    reconcile()

    latest, earliest = Label.objects.all()
    assert (read_index_mask(files.absolute(latest.path), 2, (48, 32)) == truth(1)).all()
    asked[0].refresh_from_db()
    assert asked[0].label == earliest
    assert RemoteAnnotation.objects.get().label == latest
    assert list(Label.objects.that_count()) == [latest]


def test_deleting_an_annotation_takes_the_label_back(asked, task, anna, remote, reconcile, rings, truth, drawn):
    annotation = remote.answer(task, drawn(truth(0)))
    reconcile()
    rings.clear()
    remote.delete(task, annotation)

    reconcile()
    reconcile(from_the_start=True)

    assert [label.withdrawn for label in Label.objects.all()] == [True, False]
    assert not Label.objects.that_count().exists()
    assert rings == [("rounds.tasks.advance", asked[0].campaign_id)]


def test_deleting_an_answer_that_was_replaced_leaves_the_later_one(asked, task, anna, remote, reconcile, truth, drawn):
    earlier = remote.answer(task, drawn(truth(0)))
    reconcile()
    remote.answer(task, drawn(truth(1)))
    reconcile()
    remote.delete(task, earlier)

    reconcile()

    (counts,) = Label.objects.that_count()
    assert (read_index_mask(files.absolute(counts.path), 2, (48, 32)) == truth(1)).all()


@pytest.mark.parametrize("gone", ["deleted", "skipped"])
def test_when_the_newer_of_two_answers_goes_the_older_counts_again(
    asked, task, anna, remote, reconcile, truth, drawn, gone
):
    older = remote.answer(task, drawn(truth(0)))
    newer = remote.answer(task, drawn(truth(1)))
    reconcile()
    if gone == "deleted":
        remote.delete(task, newer)
    else:
        remote.correct(task, newer, was_cancelled=True)

    reconcile()
    reconcile(from_the_start=True)

    assert (counting_mask() == truth(0)).all()
    remote.delete(task, older)
    reconcile()
    assert not Label.objects.that_count().exists()


def test_an_older_answer_that_could_be_read_only_later_does_not_count_before_a_newer_one(
    asked, task, anna, remote, reconcile, truth, drawn
):
    stranger = remote.sign_up("bert@example.org", "")
    remote.answer(task, drawn(truth(0)), by=stranger)
    remote.answer(task, drawn(truth(1)))
    reconcile()

    people.add_annotator("bert@example.org", "a long enough secret")
    reconcile()

    assert Label.objects.filter(annotator__email="bert@example.org").count() == 1
    assert (counting_mask() == truth(1)).all()


def test_a_skip_is_noted_and_a_later_answer_replaces_it(asked, task, anna, remote, reconcile, rings, truth, drawn):
    skip = remote.answer(task, [], was_cancelled=True)
    reconcile()
    asked[0].refresh_from_db()
    assert asked[0].skipped_at == skip.updated_at
    assert rings

    remote.correct(task, skip, result=tuple(drawn(truth(0))), was_cancelled=False)
    reconcile()

    asked[0].refresh_from_db()
    assert asked[0].skipped_at is None
    assert asked[0].label == Label.objects.get()


def test_undoing_a_skip_opens_the_question_again(asked, task, anna, remote, reconcile):
    skip = remote.answer(task, [], was_cancelled=True)
    reconcile()
    remote.delete(task, skip)

    reconcile()

    asked[0].refresh_from_db()
    assert asked[0].skipped_at is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda region: region["value"].update(brushlabels=["rust"]), "unknown class 'rust'"),
        (lambda region: region["value"].update(rle=[1, 2, 3]), "region 1"),
        (lambda region: region["value"].pop("rle"), "region 1"),
        (lambda region: region.update(original_width=64), "64x32"),
        (lambda region: region.pop("value"), "region 1"),
    ],
)
def test_what_cannot_be_read_is_a_problem_in_words_and_disturbs_nothing_else(
    asked, anna, remote, reconcile, truth, drawn, spoil, words
):
    broken, fine = (one.task.remote_id for one in asked[:2])
    regions = drawn(truth(0))
    spoil(regions[0])
    remote.answer(broken, regions)
    remote.answer(fine, drawn(truth(1)))

    reconcile()

    assert words in RemoteAnnotation.objects.get(task__remote_id=broken).problem
    assert Label.objects.get().image == asked[1].image
    asked[0].refresh_from_db()
    assert asked[0].label is None
    assert LabellingProject.objects.get().error == ""


def test_an_answer_that_became_unreadable_keeps_the_label_before(asked, task, anna, remote, reconcile, truth, drawn):
    annotation = remote.answer(task, drawn(truth(0)))
    reconcile()
    regions = drawn(truth(0))
    regions[0]["value"]["brushlabels"] = ["rust"]
    remote.correct(task, annotation, result=tuple(regions))

    reconcile()

    row = RemoteAnnotation.objects.get()
    assert row.problem
    assert row.label == Label.objects.get()


def test_an_answer_of_an_unknown_person_is_read_once_the_person_has_a_login(
    asked, task, remote, reconcile, truth, drawn
):
    stranger = remote.sign_up("bert@example.org", "")
    remote.answer(task, drawn(truth(0)), by=stranger)
    reconcile()
    assert "has no login in Burnish" in RemoteAnnotation.objects.get().problem
    assert not Label.objects.exists()

    people.add_annotator("bert@example.org", "a long enough secret")
    reconcile()

    assert Label.objects.get().annotator == Annotator.objects.get(remote_id=stranger).user
    assert RemoteAnnotation.objects.get().problem == ""


def test_an_answer_to_a_task_whose_push_died_half_way_is_not_lost(asked, task, anna, remote, reconcile, truth, drawn):
    Task.objects.filter(remote_id=task).delete()
    remote.answer(task, drawn(truth(0)))

    reconcile()

    asked[0].refresh_from_db()
    assert asked[0].label == Label.objects.get()


def test_an_answer_that_was_committed_late_is_found_by_the_overlap(asked, anna, remote, reconcile, truth, drawn):
    slow, fast = (one.task.remote_id for one in asked[:2])
    remote.answer(fast, drawn(truth(1)))
    reconcile()
    late = remote.answer(slow, drawn(truth(0)))
    remote.moved[slow] = remote.moved[fast] - inbox.OVERLAP / 2
    assert late.updated_at > remote.moved[slow]

    reconcile()

    assert Label.objects.count() == 2


def test_only_what_moved_is_read_again(asked, task, anna, remote, reconcile, truth, drawn, monkeypatch):
    remote.answer(task, drawn(truth(0)))
    reconcile()
    read = []
    monkeypatch.setattr(inbox, "read_task", lambda _, task: read.append(task.id) or False)

    reconcile()

    assert read == [task]


def test_a_deleted_task_counts_as_skipped_and_its_label_stays(asked, anna, remote, reconcile, rings, truth, drawn):
    answered, unanswered, _ = (one.task.remote_id for one in asked)
    remote.answer(answered, drawn(truth(0)))
    reconcile()
    rings.clear()
    for gone in (answered, unanswered):
        del remote.tasks[gone]

    reconcile()

    assert Task.objects.exclude(deleted_at=None).count() == 2
    assert Label.objects.that_count().count() == 1
    asked[1].refresh_from_db()
    assert asked[1].skipped_at is not None
    assert rings


def test_a_label_studio_that_lost_every_task_is_an_error_and_skips_nothing(asked, remote, reconcile):
    remote.tasks.clear()

    reconcile()

    assert "lists none of the 3 tasks" in LabellingProject.objects.get().error
    asked[0].refresh_from_db()
    assert asked[0].skipped_at is None


def test_a_label_studio_that_is_down_is_told_in_words_and_forgotten_when_it_is_back(asked, remote, reconcile, rings):
    remote.down = True
    reconcile()
    assert "could not be reached" in LabellingProject.objects.get().error

    remote.down = False
    reconcile()

    assert LabellingProject.objects.get().error == ""
    assert LabellingProject.objects.get().polled_at is not None


def test_a_poll_does_not_hide_why_a_push_failed(asked, ask, campaign, remote, reconcile):
    ask(campaign, 1)
    LabellingProject.objects.update(error="Label Studio stored less than was sent.")

    reconcile()

    assert LabellingProject.objects.get().error == "Label Studio stored less than was sent."


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_store_every_answer_once(asked, anna, remote, reconcile, rings, truth, drawn):
    for one in asked:
        remote.answer(one.task.remote_id, drawn(truth(0)))
    start = threading.Barrier(2)

    def work(_: int) -> None:
        start.wait()
        reconcile(from_the_start=True)
        connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))

    assert Label.objects.count() == 3
    assert RemoteAnnotation.objects.count() == 3
    assert len(rings) == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_two_readers_of_one_task_still_store_its_answer_once(
    asked, task, anna, remote, reconcile, truth, drawn
):
    remote.answer(task, drawn(truth(0)))
    project = LabellingProject.objects.get()
    (seen,) = [one for one in remote.tasks_changed_since(project.remote_id, None) if one.id == task]
    start = threading.Barrier(4)

    def work(_: int) -> None:
        start.wait()
        inbox.read_task(project, seen)
        connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert Label.objects.count() == 1
    assert RemoteAnnotation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_works_one_waits_and_the_third_lets_go():
    entered, leave = threading.Event(), threading.Event()
    let_in: list[bool] = []

    def work() -> None:
        with one_at_a_time(Work.RECONCILE, 1) as mine:
            let_in.append(mine)
            entered.set()
            leave.wait(10)
        connections.close_all()

    first, second = threading.Thread(target=work), threading.Thread(target=work)
    first.start()
    assert entered.wait(10)
    second.start()
    while not _waiting_in_the_database():
        pass

    with one_at_a_time(Work.RECONCILE, 1) as mine:
        third = mine
    leave.set()
    first.join(10)
    second.join(10)

    assert third is False
    assert let_in == [True, True]


def _waiting_in_the_database() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(np.array(cursor.fetchone()).any())
