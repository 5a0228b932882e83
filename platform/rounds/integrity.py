"""What the rows of rounds say about files; `check_integrity` reads it."""

from collections.abc import Iterator

from catalog.integrity import Claim, claims_of
from rounds.models import ModelVersion, StageFile


def claims() -> Iterator[Claim]:
    """Files that stages left, and weights."""
    yield from claims_of(StageFile.objects.order_by("pk"), "path", "sha256")
    yield from claims_of(ModelVersion.objects.order_by("pk"), "path", "sha256")
