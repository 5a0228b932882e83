"""What an import is about to take in: its files in order, the splits given for them, what the project knows already."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotation.formats import Annotated, BadSource, Dataset, open_source, read_as, read_splits
from annotation.masks import ClassInfo
from catalog import files
from catalog.intake import Known, Plan, Refused
from catalog.models import DefectClass, Image, Import, Label, Project, ReferenceMask, Split
from catalog.viewing import depth_of

# Held-out images first: where a given split cuts through a scene, what comes later is kept out.
ORDER = ("test", "val", "train")


@dataclass(frozen=True)
class Source:
    """Everything an import knows before it opens a picture."""

    found: tuple[Annotated, ...]
    given: dict[str, str]  # image name -> split
    known: dict[str, Known]  # image name -> what the project holds
    plan: Plan
    refused: tuple[Refused, ...]
    notices: tuple[str, ...]


def open_import(one: Import, beat: Callable[[], None]) -> Source:
    """The source of an import, unpacked where it is a zip; the project's classes made where it has none.

    beat: called ahead of every file that is unpacked.

    Raises:
        BadSource: nothing can be imported from it.
    """
    refused: list[tuple[str, str]] = []
    dataset = read_as(open_source(Path(one.source), unpacked(one), refused, beat=beat), one.format)
    given, notices = _given_splits(one, dataset)
    found = sorted(dataset.images, key=lambda entry: (_turn(given.get(entry.name)), entry.name))
    masks = any(entry.mask for entry in found)
    classes = _settle_classes(one.project, dataset.classes, masks=masks)
    return Source(
        found=tuple(found),
        given=given,
        known=_known(one.project),
        plan=Plan(
            project_id=one.project_id,
            mask_kind="references" if one.project.benchmark else "labels",
            classes=classes,
            bits=_bits(one, found),
            format=dataset.format,
            splits=dataset.splits,
        ),
        refused=tuple(Refused(*entry) for entry in [*refused, *dataset.strays]),
        notices=(*notices, *_format_notices(dataset), *_split_notices(given, found)),
    )


def unpacked(one: Import) -> Path:
    """Where the import's zip is unpacked."""
    return files.absolute(f"imports/{one.pk}")


def upload_of(one: Import) -> Path | None:
    """The folder that holds what was uploaded for this import; None where its source is the user's own."""
    uploads = files.absolute("imports")
    source = Path(one.source)
    return uploads / source.relative_to(uploads).parts[0] if source.is_relative_to(uploads) else None


def _format_notices(dataset: Dataset) -> tuple[str, ...]:
    """What the source was taken for, unless it is our own or holds pictures only; and what that means."""
    own = dataset.format in {"canonical", "plain images"}
    return dataset.notices if own else (f"Read as {dataset.format}: {dataset.saw}.", *dataset.notices)


def _turn(split: str | None) -> int:
    return ORDER.index(split) if split else len(ORDER)


def _given_splits(one: Import, dataset: Dataset) -> tuple[dict[str, str], list[str]]:
    if not one.split_file:
        return dict(dataset.splits), [dataset.split_notice] if dataset.split_notice else []
    path = Path(one.split_file)
    unused = sorted(set(json.loads(path.read_text())) - set(Split.values))
    notices = [f"{path.name}: {', '.join(unused)} is not used; train, val and test are."] if unused else []
    return read_splits(path), notices


def _split_notices(given: dict[str, str], found: Sequence[Annotated]) -> list[str]:
    names = {entry.name for entry in found}
    missing, unlisted = sorted(given.keys() - names), sorted(names - given.keys())
    notices = []
    if missing:
        notices.append(f"The given split names {len(missing)} images that are not here, for example {missing[0]}.")
    if given and unlisted:
        notices.append(
            f"The given split does not name {len(unlisted)} of the images, for example {unlisted[0]}: "
            "they were divided by scene."
        )
    return notices


def _settle_classes(project: Project, brought: Sequence[ClassInfo], *, masks: bool) -> int:
    """How many classes the project has; those that the source brings are made where it has none."""
    names, present = [one.name for one in brought], project.class_names()
    if not present:
        make_classes(project, brought)
        present = names
    if names != present[: len(names)]:
        raise BadSource(
            f"The source's classes are {', '.join(names)}; project {project} has {', '.join(present)}, in this order. "
            "The same index would mean different defects: bring both into one order, or import into another project."
        )
    if masks and not present:
        raise BadSource("The source holds masks but nothing names their classes. Add the classes to the project first.")
    return len(present)


def make_classes(project: Project, brought: Sequence[ClassInfo]) -> None:
    """Give a project without classes these, with the indices 1, 2, 3 ..."""
    DefectClass.objects.bulk_create(
        DefectClass(project=project, index=index, name=one.name, colour=one.colour)
        for index, one in enumerate(brought, start=1)
    )


def _known(project: Project) -> dict[str, Known]:
    masks = dict(ReferenceMask.objects.filter(image__project=project).values_list("image", "sha256"))
    imported = Label.objects.filter(image__project=project, external_key__startswith="import:")
    masks |= dict(imported.values_list("image", "sha256"))
    rows = Image.objects.filter(project=project).values_list("name", "pk", "sha256", "width", "height")
    return {
        name: Known(pk, sha256, width, height, masks.get(pk)) for name, pk, sha256, width, height in rows.iterator()
    }


def _bits(one: Import, found: Sequence[Annotated]) -> int:
    """One number for a project: what its first 16-bit images had holds for all that come later."""
    deep = Image.objects.filter(project=one.project, source__has_key="bits").order_by("pk").first()
    return deep.source["bits"] if deep else depth_of([entry.image for entry in found])
