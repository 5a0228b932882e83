"""Every arrangement of images and masks that is read or written, in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from annotation.formats import (
    boxes,
    canonical,
    coco,
    crack_lists,
    dagm,
    datumaro,
    label_studio,
    mtd,
    neu_det,
    neu_seg,
    ppl,
    voc,
    yolo,
)
from annotation.formats.archive import open_source
from annotation.formats.canonical import read_classes, read_splits
from annotation.formats.convert import Write, drawn, write_whole
from annotation.formats.dataset import Annotated, BadSource, Dataset, Drawn, Provenance
from annotation.formats.layout import is_hidden, pictures
from annotation.formats.writing import place
from annotation.masks import ClassInfo

__all__ = [
    "READERS",
    "WRITERS",
    "Annotated",
    "BadSource",
    "ClassInfo",
    "Dataset",
    "Drawn",
    "Provenance",
    "detect",
    "drawn",
    "open_source",
    "place",
    "read_as",
    "read_classes",
    "read_splits",
    "write_whole",
    "writer",
]


@dataclass(frozen=True)
class Format:
    """What takes a folder for this format (None: it is not), what writes it, and how it looks, in words."""

    recognise: Callable[[Path], Dataset | None]
    looks: str
    write: Write | None = None


FORMATS = {
    "canonical": Format(canonical.recognise, "images/ with masks/ (index masks) or classes.json", canonical.write),
    "palette": Format(canonical.recognise, "the same with palette masks", canonical.write_palette),
    "coco": Format(coco.recognise, "annotations/*.json with images, annotations and categories", coco.write),
    "voc": Format(voc.recognise, "JPEGImages/ with SegmentationClass/, as CVAT writes it too", voc.write),
    "yolo": Format(yolo.recognise, "images/ with labels/*.txt, names in data.yaml", yolo.write),
    "label-studio": Format(label_studio.recognise, "a *.json with a list of tasks", label_studio.write),
    "datumaro": Format(datumaro.recognise, "annotations/*.json with categories and items", datumaro.write),
    "neu-seg": Format(neu_seg.recognise, "images/ and annotations/, each with training/ and test/"),
    "neu-det": Format(neu_det.recognise, "IMAGES/ with boxes in ANNOTATIONS/*.xml"),
    "voc-boxes": Format(boxes.recognise, "JPEGImages/ with boxes in Annotations/*.xml"),
    "mtd": Format(mtd.recognise, "MT_Blowhole/, MT_Break/, ..."),
    "dagm": Format(dagm.recognise, "Class1/Train/, Class1/Test/, ..."),
    "crack-lists": Format(crack_lists.recognise, "train.txt with lines image,mask"),
    "ppl": Format(ppl.recognise, "labeled.txt and unlabeled.txt below their data set"),
}
WRITERS = {name: one.write for name, one in FORMATS.items() if one.write}
# Not asked when a folder is looked at: `palette` is read as `canonical` is.
READERS = {name: one for name, one in FORMATS.items() if name != "palette"}
# Boxes stand beside the masks they were drawn around, in VOC itself for one: they count where there is nothing better.
WEAKER = {"voc-boxes"}


def detect(root: Path) -> Dataset:
    """What a folder holds; or its only sub-folder where that is of a known form (archives are often packed so).

    Raises:
        BadSource: There is no picture in it, or it looks like several things at once.
    """
    for folder in (root, *_only_folder(root)):
        if found := _recognised(folder):
            return found
    if not pictures(root):
        looks = "; ".join(one.looks for one in READERS.values())
        raise BadSource(f"There are no pictures in it. Expected images, or one of: {looks}.")
    images = tuple(Annotated(path.relative_to(root).as_posix(), path) for path in pictures(root))
    return Dataset(format="plain images", root=root, saw="pictures, and nothing that holds masks", images=images)


def read_as(root: Path, name: str) -> Dataset:
    """What a folder holds in the format of this name; "detect" for any.

    Raises:
        BadSource: It is not of this format, or there is no such format.
    """
    if name == "detect":
        return detect(root)
    one = FORMATS.get(name)
    if one is None:
        raise BadSource(f"format {name!r} is unknown; expected detect, {', '.join(FORMATS)}.")
    found = (one.recognise(folder) for folder in (root, *_only_folder(root)))
    if dataset := next((dataset for dataset in found if dataset), None):
        return dataset
    raise BadSource(f"It is not of the format {name}: expected {one.looks}. Name another, or say detect.")


def writer(name: str) -> Write:
    """What writes the format of this name.

    Raises:
        BadSource: None does.
    """
    if name not in WRITERS:
        raise BadSource(f"format {name!r} cannot be written; expected one of {', '.join(WRITERS)}.")
    return WRITERS[name]


def _recognised(folder: Path) -> Dataset | None:
    found = {name: dataset for name, one in READERS.items() if (dataset := one.recognise(folder))}
    strong = {name: dataset for name, dataset in found.items() if name not in WEAKER} or found
    if len(strong) > 1:
        seen = "; ".join(f"{name} ({dataset.saw})" for name, dataset in strong.items())
        raise BadSource(f"{folder.name} looks like several formats: {seen}. Say which one to read.")
    return next(iter(strong.values()), None)


def _only_folder(root: Path) -> list[Path]:
    entries = [path for path in root.iterdir() if not is_hidden(path.relative_to(root))]
    return entries if len(entries) == 1 and entries[0].is_dir() else []
