"""Label Studio as the doctor sees it: whether it lets us in, is set up as we need it, and still has what we sent."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from annotation.client import SAMPLING, LabelStudio, LabelStudioError
from annotation.remote import ProjectSettings, Webhook
from config.doctor import Check, Finding, broken, doubtful, fine
from labelling import outbox, studio
from labelling.models import LabellingProject, RemoteAnnotation

PART = "Label Studio"
TESTED = "1.23."  # of other versions nobody has seen yet what they answer
SILENT = timedelta(minutes=4)  # it is polled every minute
BY_THE_MINUTE = "It is done every minute where beat and worker-default run."
SHOWN = 5  # unreadable answers, of however many


def account() -> Iterator[Finding]:
    try:
        with studio.client() as remote:
            version, user = remote.health(), remote.current_user()
    except (LabelStudioError, ValueError) as error:
        yield broken(PART, str(error), "The embedded one is given its token at every start: make down up")
        return
    if not version.startswith(TESTED):
        yield doubtful(
            PART, f"version {version} answers, {TESTED}x is tested.", "Install requirements-label-studio.txt."
        )
    yield fine(PART, f"version {version}, our account is {user.email}.")


def projects() -> Iterator[Finding]:
    """Every project of an open campaign."""
    still_open = LabellingProject.objects.filter(campaign__closed_at=None).select_related("campaign__project")
    with studio.client() as remote:
        for project in still_open:
            yield from _in_our_rows(project)
            if project.remote_id is not None:
                yield from _over_there(remote, project, project.remote_id)


def _in_our_rows(project: LabellingProject) -> Iterator[Finding]:
    name, long_ago = project.campaign, timezone.now() - SILENT
    if project.error:
        yield broken("tasks", f"{name}: {project.error}", "It is tried again every minute.")
    if project.polled_at and project.polled_at < long_ago:
        since = f"{project.polled_at:%Y-%m-%d %H:%M} UTC"
        yield broken("tasks", f"{name}: nobody has looked for answers since {since}.", BY_THE_MINUTE)
    if late := outbox.unsent(project.campaign).filter(stage__finished_at__lt=long_ago).count():
        yield broken("tasks", f"{name}: {late} questions wait to be sent.", BY_THE_MINUTE)
    if deleted := project.tasks.filter(acquisition__label=None).exclude(deleted_at=None).count():
        says = f"{name}: {deleted} questions were deleted in Label Studio before anybody answered."
        yield doubtful("tasks", says, "They count as skipped.")
    for one in RemoteAnnotation.objects.filter(task__project=project).exclude(problem="")[:SHOWN]:
        yield doubtful("tasks", f"{name}: {one} cannot be read: {one.problem}")


def _over_there(remote: LabelStudio, project: LabellingProject, number: int) -> Iterator[Finding]:
    name = project.campaign
    try:
        lost = list(_lost(remote, project, number))
        changed = list(_changed(remote.settings_of(number), project))
    except LabelStudioError as error:
        yield broken("tasks", f"{name}: {error}", "Restore its database, or close the campaign.")
        return
    yield from [*lost, *changed] or [
        fine("tasks", f"{name}: Label Studio has all that was sent, and is set up for it.")
    ]


def _lost(remote: LabelStudio, project: LabellingProject, number: int) -> Iterator[Finding]:
    name, sent, there = project.campaign, project.tasks.filter(deleted_at=None).count(), remote.counts(number)
    if there.tasks < sent:
        mend = "Deleted ones are noted within a minute. If its database was lost, restore it."
        yield broken("tasks", f"{name}: Label Studio has {there.tasks} of {sent} tasks.", mend)
    elif there.predictions < sent:
        says = f"{name}: Label Studio has lost what was drawn for people in {sent - there.predictions} tasks."
        yield broken("tasks", says, "Restore its database; without it people begin blank there.")


def _changed(now: ProjectSettings, project: LabellingProject) -> Iterator[Finding]:
    """Settings that somebody changed in Label Studio. The first push makes them, and then the rows of its tasks."""
    if not project.tasks.exists():
        return
    name, views = project.campaign, str(settings.VIEWS_DIR / str(project.campaign.project_id))
    if views not in now.folders:
        mend = f"Add the local storage {views} in its settings and do not sync it; the next batch does so too."
        yield broken("tasks", f"{name}: Label Studio may not show the images.", mend)
    if (now.sampling, now.model_version) != (SAMPLING, outbox.MODEL_VERSION):
        says = f"{name}: tasks come in another order or without masks ({now.sampling}, {now.model_version or 'none'})."
        mend = (
            f"Choose {SAMPLING} and the predictions {outbox.MODEL_VERSION} in its settings; the next batch does so too."
        )
        yield broken("tasks", says, mend)
    if not any(_rings_us(hook) for hook in now.webhooks):
        says = f"{name}: Label Studio does not ring us, so answers arrive by the poll of each minute."
        yield doubtful("tasks", says, "The next batch registers the webhook again.")


def _rings_us(hook: Webhook) -> bool:
    here = settings.WEBHOOK_URL + reverse("label-studio-hook")
    return hook.is_active and hook.url == here and hook.headers.get("X-Burnish-Secret") == settings.WEBHOOK_SECRET


CHECKS = (
    Check(PART, account, needs=("label-studio", "stack")),
    Check("tasks", projects, needs=(PART, "database")),
)
