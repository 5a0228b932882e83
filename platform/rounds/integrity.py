"""What the rows of rounds say about files; `check_integrity` reads it."""

from collections.abc import Iterator

from catalog.integrity import Claim, Workplace, claims_of
from rounds.models import ModelVersion, Stage, StageFile, Status


def claims() -> Iterator[Claim | Workplace]:
    """Files that stages left, weights, and the folders of stages that may still go on from what lies there."""
    yield from claims_of(StageFile.objects.order_by("pk"), "path", "sha256")
    yield from claims_of(ModelVersion.objects.order_by("pk"), "path", "sha256")
    for pk in Stage.objects.exclude(status=Status.DONE).values_list("pk", flat=True):
        yield Workplace(f"stages/{pk}")
