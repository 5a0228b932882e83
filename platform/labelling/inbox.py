"""What people did in Label Studio, on its way to Labels. Webhooks only ring; the truth is read here, by polling.

Everything may happen twice or at once: an annotation's state is stored under (annotation, updated_at), an acquisition
is answered while it is unanswered, and one worker at a time reads a project.
"""

import logging
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotation import task_json
from annotation.client import LabelStudio, LabelStudioError
from annotation.masks import MaskError
from annotation.remote import RemoteAnnotation as Remote
from annotation.remote import RemoteTask
from catalog.labels import reinstate, store_label, withdraw
from catalog.locks import Work, one_at_a_time
from catalog.models import Label
from labelling import outbox, studio
from labelling.models import Annotator, LabellingProject, RemoteAnnotation, Task
from rounds import doorbell
from rounds.models import Acquisition

# An answer is stamped before it is committed, and can be listed only after: each poll reads what came shortly before.
OVERLAP = timedelta(minutes=2)
OVERLAP_WHEN_RUNG = timedelta(seconds=10)  # bells ring every second or two, and the minute's poll comes after them

log = logging.getLogger(__name__)


class UnknownPerson(ValueError):
    """An answer by somebody who has no login in Burnish."""


def reconcile(project: LabellingProject, *, overlap: timedelta = OVERLAP, from_the_start: bool = False) -> None:
    """Bring our rows to what Label Studio holds, and ring for the next step where that changed something.

    What goes wrong with Label Studio is written to `LabellingProject.error`.

    Args:
        overlap: How long before the latest change that was seen to begin, by Label Studio's clock.
        from_the_start: Read every task again, those with a problem included.
    """
    with one_at_a_time(Work.RECONCILE, project.pk) as mine:
        if not mine:
            return
        project.refresh_from_db()
        since = None if from_the_start or project.reconciled_to is None else project.reconciled_to - overlap
        try:
            with studio.client() as remote:
                changed = _read(remote, project, since)
        except LabelStudioError as error:
            log.warning("%s could not be read: %s", project, error)
            _note(project, error=str(error))
            return
        _note(project, polled_at=timezone.now())
        # While something waits to be pushed, the error is the push's, and the push clears it.
        if not outbox.unsent(project.campaign).exists():
            _note(project, error="")
    if changed:
        doorbell.ring_advance(project.campaign_id)


def read_task(project: LabellingProject, remote: RemoteTask) -> bool:
    """Whether the annotations of a task brought something new. A task that is not ours is left alone."""
    task = Task.objects.select_related("acquisition__image").filter(project=project, remote_id=remote.id).first()
    if task is None:
        return False
    known = {one.remote_id: one for one in task.annotations.select_related("label")}
    new = [one for one in remote.annotations if one.id not in known or _differs(known[one.id], one)]
    gone = [row for number, row in known.items() if number not in {one.id for one in remote.annotations}]
    for row in gone:
        _forget(row)
    taken = [_take(task, one, project) for one in sorted(new, key=lambda one: one.updated_at)]
    return bool(gone) or any(taken)


def _read(remote: LabelStudio, project: LabellingProject, since: datetime | None) -> bool:
    """Whether anything changed among the tasks that moved since then."""
    if outbox.unsent(project.campaign).exists():
        outbox.adopt(remote, project)  # a push that died half way: people may have answered its tasks already
    changed, seen_to = False, project.reconciled_to
    for task in remote.tasks_changed_since(outbox.number(project), since):
        changed |= read_task(project, task)
        seen_to = max(seen_to or task.updated_at, task.updated_at)
    changed |= _compare_tasks(remote, project)
    # Last: a worker that dies before this reads the same tasks again.
    _note(project, reconciled_to=seen_to)
    return changed


def _differs(row: RemoteAnnotation, remote: Remote) -> bool:
    """A problem is looked at again: its reason may have been put right on our side."""
    return row.updated_at != remote.updated_at or bool(row.problem)


def _take(task: Task, remote: Remote, project: LabellingProject) -> bool:
    """Whether the new state of an annotation is an answer or a skip; a problem is kept for people and moves nothing."""
    if remote.was_cancelled:
        _skip(task, remote)
        return True
    try:
        label = _store(task, remote, project)
    except (MaskError, UnknownPerson) as problem:
        log.warning("annotation %s of task %s: %s", remote.id, task.remote_id, problem)
        _remember(task, remote, problem=str(problem))
        return False
    with transaction.atomic():
        _remember(task, remote, label=label, skipped=False, problem="")
        _unanswered(task).update(label=label, skipped_at=None)
        _let_the_latest_count(label)
    return True


def _store(task: Task, remote: Remote, project: LabellingProject) -> Label:
    """The Label that an annotation becomes."""
    user = _person(remote)
    image = task.acquisition.image
    classes = project.campaign.project.class_names()
    answer = task_json.read_answer(remote.result, classes=classes, size=(image.width, image.height))
    return store_label(
        image,
        answer.mask,
        annotator=user,
        scripted=user.pk == project.campaign.script_user_id,
        seconds=remote.lead_time,
        origins=answer.origins,
        external_key=f"label-studio:{remote.id}:{remote.updated_at.isoformat()}",
    )


def _person(remote: Remote) -> User:
    people = Annotator.objects.select_related("user")
    annotator = people.filter(remote_id=remote.completed_by).first() if remote.completed_by else None
    if annotator is None:
        raise UnknownPerson(
            f"user {remote.completed_by} of Label Studio has no login in Burnish. Add the person with their address "
            "and password (manage.py add_annotator); the answer is read again then."
        )
    return annotator.user


def _skip(task: Task, remote: Remote) -> None:
    row = RemoteAnnotation.objects.select_related("label__image").filter(remote_id=remote.id).first()
    with transaction.atomic():
        _remember(task, remote, label=None, skipped=True, problem="")
        _unanswered(task).update(skipped_at=remote.updated_at)
        if row is not None and row.label is not None:
            _let_the_latest_count(row.label)


def _forget(row: RemoteAnnotation) -> None:
    """An annotation was deleted: its answer is taken back, its skip undone."""
    with transaction.atomic():
        _unanswered(row.task).update(skipped_at=None)
        row.delete()
        if row.label is not None:
            _let_the_latest_count(row.label)


def _let_the_latest_count(answer: Label) -> None:
    """Where `answer` came or went: the image's latest label becomes that of the latest annotation still there.

    Labels are only ever added, so an earlier answer counts again by being stated again. Label Studio's time decides
    what is latest: an answer may be read long after it was given.
    """
    rivals = answer.image.labels.filter(scripted=answer.scripted)
    if answer.scripted:  # each script counts in its own campaign only
        rivals = rivals.filter(annotator=answer.annotator)
    latest = rivals.latest("created_at", "pk")
    there = RemoteAnnotation.objects.filter(label__in=rivals).select_related("label__image")
    last = there.order_by("updated_at", "remote_id").last()
    if last is None and not latest.withdrawn:
        key = f"label-studio:taken back after {latest.pk}"
        withdraw(latest.image, annotator=latest.annotator, scripted=latest.scripted, external_key=key)
    elif last is not None and last.label is not None and last.label != latest:
        last.label = reinstate(last.label, external_key=f"label-studio:{last.remote_id}:again after {latest.pk}")
        last.save(update_fields=["label"])


def _remember(task: Task, remote: Remote, **state: Label | str | bool | None) -> None:
    RemoteAnnotation.objects.update_or_create(
        remote_id=remote.id, defaults={"task": task, "updated_at": remote.updated_at, **state}
    )


def _unanswered(task: Task) -> QuerySet[Acquisition]:
    """The acquisition of a task, while it has no answer: the guard of every write to it."""
    return Acquisition.objects.filter(pk=task.acquisition_id, label=None)


def _compare_tasks(remote: LabelStudio, project: LabellingProject) -> bool:
    """Whether tasks vanished. Their labels stay; what was not answered counts as skipped: nobody can answer it now."""
    there = project.tasks.filter(deleted_at=None)
    expected = there.count()
    if remote.counts(outbox.number(project)).tasks == expected:
        return False
    listed = remote.task_ids(outbox.number(project))
    outbox.drop_doubles(remote, project, listed - {task.remote_id for task in there})
    gone = [task for task in there if task.remote_id not in listed]
    if expected and len(gone) == expected:
        raise LabelStudioError(
            f"Label Studio lists none of the {expected} tasks in project {project.remote_id}. If they were deleted on "
            "purpose, close the campaign; otherwise restore Label Studio's database from its backup."
        )
    now = timezone.now()
    for task in gone:
        with transaction.atomic():
            Task.objects.filter(pk=task.pk).update(deleted_at=now)
            _unanswered(task).filter(skipped_at=None).update(skipped_at=now)
    return bool(gone)


def _note(project: LabellingProject, **state: str | datetime | None) -> None:
    LabellingProject.objects.filter(pk=project.pk).update(**state)
