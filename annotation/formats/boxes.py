"""VOC boxes: an XML file for each image. A box becomes a filled rectangle, a weak label; the later box wins.

Corners count pixels from 1 and belong to the box, as VOC defines it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from annotation.brush import BoolMask
from annotation.formats.dataset import WEAK, Annotated, BadSource, Dataset, Provenance
from annotation.formats.layout import in_order, pictures
from annotation.formats.objects import classes_of, paint
from annotation.formats.xml import parse
from annotation.masks import ClassInfo, Mask, MaskError, Size, named

SIDES = ("xmin", "ymin", "xmax", "ymax")
NOTICE = (
    "Boxes become filled rectangles, which are weak labels: a box holds sound surface too, and where boxes overlap the "
    "later one wins."
)


def recognise(root: Path) -> Dataset | None:
    """VOC boxes at `root`, if they are there."""
    return read_boxes(root, "JPEGImages", "Annotations", format_name="VOC boxes")


def read_boxes(
    root: Path, image_folder: str, box_folder: str, *, format_name: str, names: Sequence[str] | None = None
) -> Dataset | None:
    """Images with the boxes in XML files of the same names, if both folders are there.

    names: Of the classes in their order; otherwise those that the files name, sorted.
    """
    if not (root / image_folder).is_dir() or not (root / box_folder).is_dir():
        return None
    files = {path.stem: path for path in sorted((root / box_folder).glob("*.xml"))}
    if not files:
        return None
    classes = named(names) if names else _found_classes(list(files.values()))
    index = {one.name: i for i, one in enumerate(classes, start=1)}
    images = pictures(root / image_folder)
    alone = files.keys() - {path.stem for path in images}
    return Dataset(
        format=format_name,
        root=root,
        saw=f"{image_folder}/ with XML files in {box_folder}/",
        images=in_order(_annotated(root, path, files.get(path.stem), index) for path in images),
        classes=classes,
        strays=tuple(
            (f"{box_folder}/{stem}.xml", f"no image in {image_folder}/ has this name.") for stem in sorted(alone)
        ),
        notices=(NOTICE,),
    )


def _annotated(root: Path, image: Path, boxes: Path | None, index: Mapping[str, int]) -> Annotated:
    name = image.relative_to(root).as_posix()
    if boxes is None:
        return Annotated(name, image)
    where = boxes.relative_to(root).as_posix()
    return Annotated(name, image, partial(_read, boxes, index), where, Provenance(kind=WEAK))


def _found_classes(files: Sequence[Path]) -> tuple[ClassInfo, ...]:
    names: set[str] = set()
    for path in files:
        with suppress(BadSource):  # told when its image's turn comes
            names |= {name for name, _ in _boxes(parse(path))}
    return classes_of(sorted(names - {""}), "the boxes")[0]


def _read(path: Path, index: Mapping[str, int], classes: int, size: Size) -> Mask:
    try:
        tree = parse(path)
    except BadSource as error:
        raise MaskError(str(error)) from error
    listed = tuple(tree.findtext(f"size/{name}", "").strip() for name in ("width", "height"))
    if listed not in {tuple(map(str, size)), ("", ""), ("0", "0")}:
        raise MaskError(f"{path.name} says {'x'.join(listed)} pixels, the image has {size[0]}x{size[1]}. Correct it.")
    boxes = _boxes(tree)
    unknown = [name for name, _ in boxes if name not in index]
    if unknown:
        raise MaskError(f"{path.name} has the unknown class {unknown[0]!r:.40}, expected one of {', '.join(index)}.")
    return paint(((index[name], partial(_inside, corners, path.name)) for name, corners in boxes), size)


def _boxes(tree: ET.Element) -> list[tuple[str, list[str]]]:
    """Class and corners of each box, as they are written."""
    return [
        (one.findtext("name", "").strip(), [one.findtext(f"bndbox/{side}", "") for side in SIDES])
        for one in tree.iter("object")
    ]


def _inside(corners: Sequence[str], where: str, size: Size) -> BoolMask:
    try:
        left, top, right, bottom = (round(float(one)) for one in corners)
    except (ValueError, OverflowError) as error:
        raise MaskError(f"{where}: expected numbers in {', '.join(SIDES)}, got {', '.join(corners):.80}.") from error
    if not (1 <= left <= right <= size[0] and 1 <= top <= bottom <= size[1]):
        box = f"{left},{top} to {right},{bottom}"
        raise MaskError(f"{where} has a box from {box}, expected corners from 1,1 to {size[0]},{size[1]}. Correct it.")
    inside = np.zeros((size[1], size[0]), bool)
    inside[top - 1 : bottom, left - 1 : right] = True
    return inside
