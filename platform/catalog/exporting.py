"""Labels out of a project, with their images and where they come from, in any format that is written."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from annotation.formats import BadSource, Drawn, Provenance, place, write_whole, writer
from annotation.masks import ClassInfo, read_index_mask
from catalog import files
from catalog.models import Image, Label, Project, ReferenceMask

CHUNK = 500  # images whose masks are looked up at once


def export_labels(project: Project, target: Path, *, write_as: str, everything: bool = False) -> list[str]:
    """Write the labels that count, and given truth where an image has no label; what the format could not keep.

    Images go out as they came in; masks belong to them as they are seen, turned as their EXIF data say.

    Args:
        project: Whose labels.
        target: A folder that is not there yet.
        write_as: Name of a format.
        everything: Also images without a mask.

    Raises:
        BadSource: The format is not written, the folder is there, or there is nothing to write.
    """
    write = writer(write_as)
    classes = [ClassInfo(one.name, one.colour) for one in project.classes.all()]
    drawn = _drawn(project, len(classes), everything=everything)
    first = next(drawn, None)
    if first is None:
        raise BadSource(f"{project} has no labels yet. Draw some, or export every image.")
    return write_whole(target, write, classes, _chain(first, drawn))


def _chain(first: Drawn, others: Iterator[Drawn]) -> Iterator[Drawn]:
    yield first
    yield from others


def _drawn(project: Project, classes: int, *, everything: bool) -> Iterator[Drawn]:
    images = list(Image.objects.filter(project=project).order_by("name").defer("descriptor"))
    for at in range(0, len(images), CHUNK):
        chunk = images[at : at + CHUNK]
        masks = _masks(chunk)
        for image in chunk:
            path, provenance = masks.get(image.pk, ("", Provenance()))
            if path or everything:
                yield _one(image, path, replace(provenance, **image.provenance), classes)


def _one(image: Image, mask: str, provenance: Provenance, classes: int) -> Drawn:
    size = (image.width, image.height)
    return Drawn(
        path=place(image.name),
        image=files.absolute(image.original),
        size=size,
        mask=read_index_mask(files.absolute(mask), classes, size) if mask else None,
        split=image.split,
        provenance=provenance,
    )


def _masks(images: list[Image]) -> dict[int, tuple[str, Provenance]]:
    """Path and origin of the mask of each image that has one; a person's answer before given truth."""
    truth = ReferenceMask.objects.filter(image__in=images)
    masks = {one.image_id: (one.path, _provenance(one.provenance, kind="reference")) for one in truth}
    labels = Label.objects.filter(image__in=images).by_people().that_count().select_related("annotator")
    return masks | {one.image_id: (one.path, _of_label(one)) for one in labels}


def _of_label(label: Label) -> Provenance:
    if label.annotator:
        return Provenance(kind="label", by=label.annotator.get_username(), origins=label.origins)
    return replace(_provenance(label.provenance, kind="label"), origins=label.origins)


def _provenance(told: Mapping[str, str], *, kind: str) -> Provenance:
    """As the source told it; `kind` where it did not."""
    return Provenance(kind=told.get("kind", kind), by=told.get("by", ""))
