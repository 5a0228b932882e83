"""When a project's statistics are computed, and where: by a worker, after an import, and as labels come in."""

import logging
import time
from datetime import timedelta

from django.db.models import Count, Max
from django.utils import timezone
from kombu.exceptions import OperationalError

from catalog.locks import Work, only
from catalog.models import Image, Label, Landmarks, Project, ReferenceMask, Statistics
from config import celery_app

REST = timedelta(minutes=5)  # after a computation, while labels come in one by one
PATIENCE = 20  # computing takes at most one part in so many of a worker's time

log = logging.getLogger(__name__)


def describe(project_id: int) -> Statistics | None:
    """The statistics of a project as it stands; None while another worker is at it, or at what they rest on."""
    # Workers only: pages read the row.
    from catalog.figures import figures_of
    from catalog.surfaces import describe_older

    project = Project.objects.get(pk=project_id)
    with only(Work.DESCRIBE, project_id) as mine:
        if not mine or not describe_older(project):
            return None
        now = state(project)
        if known := project.statistics.filter(state=now).first():
            return known
        begun = time.monotonic()
        figures = figures_of(project)
        return Statistics.objects.create(project=project, state=now, figures=figures, seconds=time.monotonic() - begun)


def state(project: Project) -> str:
    """Of the rows that statistics are computed over: another whenever there are others. Rows are only ever added."""
    kinds = (
        Image.objects.filter(project=project),
        Landmarks.objects.filter(image__project=project),
        ReferenceMask.objects.filter(image__project=project),
        Label.objects.filter(image__project=project).by_people(),
        project.classes.all(),
    )
    counted = (rows.aggregate(count=Count("pk"), last=Max("pk")) for rows in kinds)
    return " ".join(f"{one['count']}:{one['last']}" for one in counted)


def is_outdated(project: Project) -> bool:
    """Whether something came in since the statistics were computed, or there are none yet."""
    latest = project.statistics.only("state").first()
    return (latest is None and project.images.exists()) or (latest is not None and latest.state != state(project))


def ring(project_id: int) -> None:
    """Have a worker compute a project's statistics; one that is lost is rung for again by the sweep."""
    try:
        celery_app.send_task("catalog.tasks.describe", (project_id,))
    except OperationalError as problem:
        log.warning("could not ring for the statistics of project %s: %s; the sweep will", project_id, problem)


def ring_outdated() -> None:
    """Ring for every project whose statistics are old. Called by the minute."""
    for project in Project.objects.all():
        latest = project.statistics.only("computed_at", "seconds").first()
        rest = max(REST, timedelta(seconds=PATIENCE * latest.seconds)) if latest else timedelta()
        if (latest is None or latest.computed_at + rest < timezone.now()) and is_outdated(project):
            ring(project.pk)
