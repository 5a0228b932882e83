"""What exists, as the doctor sees it: files against rows, and imports."""

from collections.abc import Iterator
from itertools import islice

from django.db.models import Q
from django.utils import timezone

from catalog import integrity
from catalog.importing import LIVE, SILENCE
from catalog.models import Import
from config.doctor import Check, Finding, broken, doubtful, fine

SHOWN = 5  # faults, of however many


def files() -> Iterator[Finding]:
    """Whether every file is there; what is in it is for `check_integrity` to read."""
    faults = integrity.faults(contents=False)
    shown = list(islice(faults, SHOWN))
    for fault in shown:
        yield doubtful("files", fault) if integrity.BELONGS_TO_NONE in fault else broken("files", fault)
    if more := sum(1 for _ in faults):
        yield broken("files", f"{more} more like these.", "manage.py check_integrity lists all.")
    if not shown:
        yield fine("files", "every row has its file, every file its row.")


def imports() -> Iterator[Finding]:
    limit = timezone.now() - 3 * SILENCE  # every minute somebody rings for it again
    silent = Q(heartbeat_at__lt=limit) | Q(heartbeat_at=None, created_at__lt=limit)
    for one in Import.objects.filter(silent, status__in=LIVE).select_related("project"):
        yield broken("imports", f"{one} stands still.", "It goes on by itself where beat and worker-default run.")


CHECKS = (Check("files", files, needs=("database",)), Check("imports", imports, needs=("database",)))
