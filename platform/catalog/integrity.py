"""Rows against files, both ways: what a row names is there and unchanged, and nothing lies about that no row names."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db.models import F, Model, QuerySet
from django.utils.module_loading import import_string

from catalog import files
from catalog.models import Image, Label, ReferenceMask

OWNED = ("originals", "views", "references", "labels", "stages")  # folders in which every file belongs to a row
Said = TypeVar("Said", "Claim", "Workplace")
BELONGS_TO_NONE = "belongs to no row"
SETTLED = 600  # seconds; a younger file may wait for its row (files are written first)


@dataclass(frozen=True)
class Claim:
    """A row says: this file is there and has this content."""

    row: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Workplace:
    """A row says: somebody may still work in this folder, on files that belong to no row yet."""

    folder: str


def claims() -> Iterator[Claim]:
    """What the catalogue's rows say."""
    images = Image.objects.order_by("pk")
    yield from claims_of(images, "original", "sha256")
    yield from claims_of(images, "view", "view_sha256")
    yield from claims_of(ReferenceMask.objects.order_by("pk"), "path", "sha256")
    yield from claims_of(Label.objects.filter(withdrawn=False).order_by("pk"), "path", "sha256")


def claims_of(rows: QuerySet[Model], path: str, sha256: str) -> Iterator[Claim]:
    """One claim per row, from the fields that hold the path and the sha256."""
    for pk, where, digest in rows.values_list("pk", path, sha256).iterator():
        yield Claim(f"{rows.model.__name__} {pk}", where, digest)


def all_claims() -> Iterator[Claim]:
    """What the rows of every layer say."""
    return _said(Claim)


def faults(*, contents: bool = True) -> Iterator[str]:
    """Everything that is wrong, in sentences. `contents`: read every file and compare, not only look for it."""
    claimed: dict[str, str] = {}
    for claim in all_claims():
        if claim.path not in claimed:
            yield from _missing_or_changed(claim, contents=contents)
        elif claimed[claim.path] != claim.sha256:
            yield f"{claim.row}: {claim.path} has another sha256 in another row. One of the two rows is wrong."
        claimed.setdefault(claim.path, claim.sha256)
    for name in left_overs():
        yield f"{name} {BELONGS_TO_NONE}: left by work that was killed. check_integrity --mend removes it."
    yield from _cut_scenes()


def left_overs() -> Iterator[str]:
    """Old files that belong to no row and that nobody can be working on."""
    # In this order: whoever ends their work in between is seen at it, or with the rows of what they left.
    workplaces = {one.folder for one in _said(Workplace)}
    claimed = {claim.path for claim in all_claims()}
    root, before = files.absolute("originals").parent, time.time() - SETTLED
    for kind in OWNED:
        for path in sorted((root / kind).rglob("*")):
            name = path.relative_to(root)
            if name.as_posix() in claimed or not workplaces.isdisjoint(map(Path.as_posix, name.parents)):
                continue
            if path.is_file() and path.stat().st_mtime < before:
                yield name.as_posix()


def remove_left_overs() -> Iterator[str]:
    """The names of the left-overs, each once it is gone."""
    before = time.time() - SETTLED
    for name in list(left_overs()):
        if files.remove_unused(name, before):
            yield name


def _missing_or_changed(claim: Claim, *, contents: bool) -> Iterator[str]:
    path = files.absolute(claim.path)
    if not path.is_file():
        yield f"{claim.row}: {claim.path} is missing. Restore it from a backup."
    elif contents and (found := files.sha256_of(path)) != claim.sha256:
        yield f"{claim.row}: {claim.path} has changed: sha256 {claim.sha256} expected, {found} found. Restore it."


def _said(kind: type[Said]) -> Iterator[Said]:
    """What rows say of files, of one kind."""
    for source in settings.INTEGRITY_CLAIMS:
        yield from (one for one in import_string(source)() if isinstance(one, kind))


def _cut_scenes() -> Iterator[str]:
    cut = Image.objects.filter(kept_out="").exclude(split=F("scene__split"))
    for image in cut.select_related("scene").order_by("pk").iterator():
        yield f"image {image.pk}: is in {image.split}, its {image.scene} in {image.scene.split}. A split cuts a scene."
