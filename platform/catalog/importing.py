"""Images into a project: idempotent by name and content, and resumable after a kill at any moment.

Files are written before the rows that name them, rows go in by the batch, and what is in is recognised when the
import runs again. One import of a project runs at a time, for each has to know the scenes the others found; a lock of
the database session sees to it, and ends with the process however that ends.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from annotation.formats import BadSource, read_splits
from catalog import describing, files
from catalog.batches import batches, insert
from catalog.locks import Work, only
from catalog.models import Image, Import, Project, SharedSurface, Split
from catalog.placement import place
from catalog.sources import open_import, unpacked, upload_of
from catalog.surfaces import surfaces_of
from config import celery_app

BEAT_SECONDS = 1.0
SILENCE = timedelta(seconds=60)  # of an import, after which it is rung for again
LIVE = (Import.Status.PENDING, Import.Status.RUNNING)

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Somebody cancelled the import; what is in stays in."""


def start_import(
    project: Project,
    source: Path | str,
    *,
    read_as: str = "detect",
    split_file: Path | str = "",
    created_by: User | None = None,
) -> Import:
    """A new import of a folder or zip on the server; a worker takes it up.

    Raises:
        BadSource: there is no such source, or the split file cannot be used.
    """
    one = create_import(project, source, read_as=read_as, split_file=split_file, created_by=created_by)
    transaction.on_commit(lambda: _ring(one.pk))
    return one


def create_import(
    project: Project,
    source: Path | str,
    *,
    read_as: str = "detect",
    split_file: Path | str = "",
    created_by: User | None = None,
) -> Import:
    """The row of a new import, for a caller who runs it himself.

    Raises:
        BadSource: there is no such source, or the split file cannot be used.
    """
    folder = Path(source).resolve()
    splits = Path(split_file).resolve() if split_file else None
    if not folder.exists():
        raise BadSource(f"{folder} does not exist. Expected a folder or a zip file on the server.")
    if splits and not splits.is_file():
        raise BadSource(f"{splits} does not exist. Expected a split file on the server.")
    if splits:
        read_splits(splits)  # refused now, not when a worker comes to it
    return Import.objects.create(
        project=project, source=str(folder), format=read_as, split_file=str(splits or ""), created_by=created_by
    )


def run_import(import_id: int, *, report: Callable[[Import], None] = lambda _: None) -> None:
    """Bring in what the import names. Returns at once when it is over, or while another import has the project.

    Args:
        import_id: of the row, which shows the progress.
        report: called with the row about every second.
    """
    one = Import.objects.select_related("project").get(pk=import_id)
    with only(Work.IMPORT, one.project_id) as mine:
        # One that waits for another is rung for again by the sweep.
        if not mine or not _claim(one):
            return
        try:
            _run(one, report)
        except Cancelled:
            _end(one, Import.Status.CANCELLED)
        except (BadSource, files.OtherContent, OSError) as problem:
            _end(one, Import.Status.FAILED, error=str(problem))
        except Exception as problem:
            _end(one, Import.Status.FAILED, error=f"Unexpected: {type(problem).__name__}: {problem}")
            raise
        _clean_up(one)


def ring_forgotten() -> None:
    """Ring for every import that waits, or whose worker is gone. Called by the minute; a ring too many does nothing."""
    limit = timezone.now() - SILENCE
    silent = Q(heartbeat_at__lt=limit) | Q(heartbeat_at=None, created_at__lt=limit)
    for pk in Import.objects.filter(silent, status__in=LIVE).values_list("pk", flat=True):
        _ring(pk)


def _run(one: Import, report: Callable[[Import], None]) -> None:
    source, surfaces = open_import(one, _by_the_second(one)), surfaces_of(one.project)
    one.total = len(source.found)
    _beat(one)
    before, present = one.imported, 0  # imported before: by a run of this import that a kill ended
    for batch in batches(source):
        present += len(batch.old)
        # Before the transaction: where landmarks agree, pictures are opened.
        places = place(one.project, surfaces, batch.new, source.given)
        # The counts go in with the rows they count, so a kill between the two cannot part them.
        with transaction.atomic():
            insert(one, batch, places)
            surfaces.save_joined()
            one.imported += len(batch.new)
            one.already_there = max(0, present - before)
            _beat(one)
        report(one)
    _end(one, Import.Status.DONE, warnings=[*source.notices, *_warnings(one.project)])
    describing.ring(one.project_id)


def _warnings(project: Project) -> Iterator[str]:
    """What a user should know about the project as it stands now."""
    images = Image.objects.filter(project=project)
    kept_out = images.exclude(kept_out="")
    if first := kept_out.order_by("pk").first():
        yield (
            f"{kept_out.count()} of the project's {images.count()} images are kept out, because their surface appears "
            f"in another split too: what a model learns there must not be what it is measured on. For example "
            f"{first.name}: {first.kept_out}"
        )
    shared = SharedSurface.objects.leaking().filter(one__project=project).select_related("one", "other")
    if met := shared.first():
        yield (
            f"Scenes of different splits show the same surface, {shared.count()} times; found when models had been "
            f"judged on them, so nothing was moved. For example {met.one.name} ({met.one.get_split_display()}) and "
            f"{met.other.name} ({met.other.get_split_display()}). The statistics say what that leaks."
        )
    empty = [split.label for split in Split if not images.filter(split=split, kept_out="").exists()]
    if empty and images.exists():
        yield f"No image is left for {' and '.join(empty)}: add images, or give a split file."
    unmarked = images.filter(reference=None).count() if project.benchmark else 0
    if unmarked:
        yield f"{unmarked} images of this benchmark have no mask: nothing can be measured on them."


def _claim(one: Import) -> bool:
    live = Import.objects.filter(pk=one.pk, status__in=LIVE)
    return bool(live.update(status=Import.Status.RUNNING, heartbeat_at=timezone.now()))


def _beat(one: Import) -> None:
    running = Import.objects.filter(pk=one.pk, status=Import.Status.RUNNING)
    counts = {"total": one.total, "imported": one.imported, "already_there": one.already_there}
    if not running.update(heartbeat_at=timezone.now(), **counts):
        raise Cancelled


def _by_the_second(one: Import) -> Callable[[], None]:
    """A beat that may be called as often as one likes."""
    due = 0.0

    def beat() -> None:
        nonlocal due
        if time.monotonic() >= due:
            _beat(one)
            due = time.monotonic() + BEAT_SECONDS

    return beat


def _end(one: Import, status: Import.Status, *, error: str = "", warnings: Sequence[str] = ()) -> None:
    """A cancelled import stays cancelled, whatever it came to in the meantime."""
    ended = Import.objects.filter(pk=one.pk, finished_at=None)
    ended.exclude(status=Import.Status.CANCELLED).update(status=status, error=error, warnings=list(warnings))
    ended.update(finished_at=timezone.now())


def _clean_up(one: Import) -> None:
    """Remove what was unpacked, and what was uploaded for this import alone."""
    shutil.rmtree(unpacked(one), ignore_errors=True)
    if upload := upload_of(one):
        shutil.rmtree(upload, ignore_errors=True)


def _ring(import_id: int) -> None:
    try:
        celery_app.send_task("catalog.tasks.run_import", (import_id,))
    except OperationalError as problem:
        log.warning("could not ring for import %s: %s; the sweep will", import_id, problem)
