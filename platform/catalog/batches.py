"""The files of a source, taken in by several threads; and their rows, put in by the batch."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from catalog.intake import NewImage, OldImage, Refused, StoredMask, take_in
from catalog.models import Image, Import, Label, Landmarks, Project, ReferenceMask, RefusedFile, Scene, SharedSurface
from catalog.placement import Place
from catalog.sources import Source

SIZE = 200  # images a transaction
SECONDS = 1.0  # a batch is closed after this time too, so that progress is seen and a kill costs little
CHUNK = 16  # images in the hands of the threads
THREADS = min(4, (os.cpu_count() or 1) + 1)  # Pillow, zlib, hashing and the disk work beside Python


@dataclass
class Batch:
    """Files whose contents are written and whose rows are not."""

    new: list[NewImage] = field(default_factory=list)
    old: list[OldImage] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.new) + len(self.old) + len(self.refused)

    def add(self, outcome: NewImage | OldImage | Refused) -> None:
        """Put an outcome with its like."""
        if isinstance(outcome, NewImage):
            self.new.append(outcome)
        elif isinstance(outcome, OldImage):
            self.old.append(outcome)
        else:
            self.refused.append(outcome)


def batches(source: Source) -> Iterator[Batch]:
    """The source's files in order, taken in; what was refused before a picture was opened goes with the first batch."""
    batch, closes = Batch(refused=list(source.refused)), time.monotonic() + SECONDS
    with ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(source.found), CHUNK):
            chunk = source.found[start : start + CHUNK]
            for outcome in threads.map(lambda one: take_in(one, source.known.get(one.name), source.plan), chunk):
                batch.add(outcome)
            if len(batch) >= SIZE or time.monotonic() > closes:
                yield batch
                batch, closes = Batch(), time.monotonic() + SECONDS
    yield batch


def insert(one: Import, batch: Batch, places: Sequence[Place]) -> None:
    """Make the rows of a batch, whose new images go to these places. To be called inside a transaction."""
    images = _insert_images(one.project, batch.new, places)
    masks = [(image.pk, new.mask) for image, new in zip(images, batch.new, strict=True) if new.mask]
    masks += [(old.known.pk, old.mask) for old in batch.old if old.mask]
    _insert_masks(masks, truth=one.project.benchmark)
    # Refused again when the import goes on after a kill: reported once.
    RefusedFile.objects.bulk_create(
        [RefusedFile(of=one, name=refused.name, reason=refused.reason) for refused in batch.refused],
        ignore_conflicts=True,
    )


def _insert_images(project: Project, new: Sequence[NewImage], places: Sequence[Place]) -> list[Image]:
    Scene.objects.bulk_create({id(one.scene): one.scene for one in places if one.scene.pk is None}.values())
    images = Image.objects.bulk_create(
        Image(
            project=project,
            scene=there.scene,
            name=image.name,
            sha256=image.original.sha256,
            original=image.original.path,
            view=image.view.path,
            view_sha256=image.view.sha256,
            width=image.width,
            height=image.height,
            split=there.split,
            kept_out=there.kept_out,
            source={"bits": image.bits} if image.bits else {},
            provenance=image.provenance,
            descriptor=image.descriptor,
        )
        for image, there in zip(new, places, strict=True)
    )
    _note_twins(project, images, places)
    Landmarks.objects.bulk_create(
        Landmarks(image=row, described=image.landmarks) for row, image in zip(images, new, strict=True)
    )
    return images


def _note_twins(project: Project, images: Sequence[Image], places: Sequence[Place]) -> None:
    """What an image is kept out for is what its split would have leaked: the statistics count it."""
    names = {name for there in places for name in there.twins}
    known = dict(Image.objects.filter(project=project, name__in=names).values_list("name", "pk"))
    SharedSurface.objects.bulk_create(
        SharedSurface(one=image, other_id=known[name])
        for image, there in zip(images, places, strict=True)
        for name in there.twins
    )


def _insert_masks(masks: Sequence[tuple[int, StoredMask]], *, truth: bool) -> None:
    if truth:
        ReferenceMask.objects.bulk_create(ReferenceMask(image_id=image, **_of_mask(mask)) for image, mask in masks)
        return
    Label.objects.bulk_create(
        Label(image_id=image, origins=dict(mask.origins), external_key=f"import:{image}", **_of_mask(mask))
        for image, mask in masks
    )


def _of_mask(mask: StoredMask) -> dict[str, Any]:
    return {"path": mask.path, "sha256": mask.sha256, "classes": mask.classes, "provenance": mask.provenance}
