"""Datumaro's own JSON: `annotations/<split>.json`, images in `images/`. Masks, polygons and boxes are read.

Boxes become filled rectangles, weak labels. What has the higher `z_order`, then what comes later, lies above.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from annotation.brush import BoolMask
from annotation.contours import pieces
from annotation.formats import rle
from annotation.formats.boxes import NOTICE
from annotation.formats.dataset import (
    UNKNOWN,
    WEAK,
    Annotated,
    BadSource,
    Dataset,
    Drawn,
    Losses,
    Provenance,
    json_files,
    read_provenance,
)
from annotation.formats.layout import split_named
from annotation.formats.listing import Listing
from annotation.formats.objects import Object, classes_of, outline, paint, polygons, run_lengths
from annotation.formats.writing import NO_IGNORE, copy_image
from annotation.masks import IGNORE, ClassInfo, Mask, MaskError, Size
from annotation.shapes import fill

Json = dict[str, Any]


def recognise(root: Path) -> Dataset | None:
    """Datumaro at `root`, if it is there."""
    files = [(path, content) for path, content in json_files(root) if content.keys() >= {"items", "categories"}]
    if not files:
        return None
    labels, classes = _labels(files)
    listing = Listing(root, apart="annotations")
    for path, content in files:
        where, subset = path.relative_to(root).as_posix(), path.stem
        for item in _items(content, where):
            name = listing.claim(_picture(item), (f"images/{subset}", "images"), where)
            if name is not None:
                listing.add(_annotated(name, listing.pictures[name], item, labels, where), split_named(subset))
    boxes = any(one.provenance.kind == WEAK for one in listing.images.values())
    return Dataset(
        format="Datumaro",
        root=root,
        saw=f"{files[0][0].relative_to(root)} with categories, items",
        images=listing.all(),
        classes=classes,
        splits=listing.splits,
        strays=tuple(listing.strays),
        notices=(NOTICE,) if boxes else (),
    )


def write(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write Datumaro: a file for each split, a mask annotation for each connected piece of a class."""
    losses, ids = Losses(), count()
    items: dict[str, list[str]] = {}
    for one in drawn:
        subset = one.split or "default"
        copy_image(one, folder / "images" / subset)
        if one.mask is None:
            continue
        items.setdefault(subset, []).append(json.dumps(_item(one, len(classes), ids)))
        losses[NO_IGNORE] += int((one.mask == IGNORE).sum())
    categories = json.dumps(_categories(classes))
    for subset, entries in (items or {"default": []}).items():
        path = folder / "annotations" / f"{subset}.json"
        path.parent.mkdir(exist_ok=True)
        head = f'{{"dm_format_version": "1.0", "media_type": 2, "infos": {{}}, "categories": {categories},\n"items": ['
        path.write_text(head + ",\n".join(entries) + "]}\n", encoding="utf-8")
    return losses


def _labels(files: Sequence[tuple[Path, Json]]) -> tuple[list[int], tuple[ClassInfo, ...]]:
    """Index of each label's number, and the classes in the order of these."""
    path, first = files[0]
    other = next((other for other, content in files if content["categories"] != first["categories"]), None)
    if other:
        raise BadSource(f"{path.name} and {other.name} list different categories. Export them together.")
    try:
        names = [one["name"] for one in first["categories"]["label"]["labels"]]
    except (KeyError, TypeError) as error:
        raise BadSource(f'{path.name}: expected categories.label.labels such as [{{"name": "scratch"}}].') from error
    classes, indices = classes_of(names, path.name)
    return indices, classes


def _items(content: Json, where: str) -> list[Json]:
    items = content["items"]
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise BadSource(f"{where}: expected a list of objects in items.")
    return items


def _picture(item: Json) -> str:
    """The path that the item gives for its image, otherwise its id."""
    media = item.get("image") or item.get("media")
    path = media.get("path") if isinstance(media, dict) else None
    return str(path or item.get("id"))


def _annotated(name: str, image: Path, item: Json, labels: Sequence[int], where: str) -> Annotated:
    drawn = item.get("annotations", [])
    if not isinstance(drawn, list) or not all(isinstance(one, dict) for one in drawn):
        raise BadSource(f"{where}: expected annotations of {name} as a list of objects.")
    attributes = item.get("attr")
    note = attributes.get("provenance") if isinstance(attributes, dict) else None
    weak = Provenance(kind=WEAK) if any(one.get("type") == "bbox" for one in drawn) else UNKNOWN
    provenance = weak if note is None else read_provenance(note, f"{where}: {name}")
    return Annotated(name, image, partial(_read, drawn, labels), where, provenance)


def _read(drawn: Sequence[Json], labels: Sequence[int], classes: int, size: Size) -> Mask:
    others = [one.get("type") for one in drawn if one.get("type") not in tuple(SHAPES)]
    if others:
        raise MaskError(f"has an annotation of type {others[0]!r:.40}, expected {', '.join(SHAPES)}. Leave it out.")
    return paint((_object(one, labels) for one in sorted(drawn, key=_height)), size)


def _height(entry: Json) -> int:
    height = entry.get("z_order", 0)
    if type(height) is not int:
        raise MaskError(f"expected a whole number for z_order, got {height!r:.40}. Export it again.")
    return height


def _object(entry: Json, labels: Sequence[int]) -> Object:
    label = entry.get("label_id")
    if type(label) is not int or not 0 <= label < len(labels):
        raise MaskError(f"annotation {entry.get('id')} has the unknown label {label!r:.40}. Export it again.")
    return labels[label], partial(SHAPES[entry["type"]], entry)


def _mask(entry: Json, size: Size) -> BoolMask:
    return run_lengths(entry.get("rle"), size)


def _polygon(entry: Json, size: Size) -> BoolMask:
    return polygons([entry.get("points")], size)


def _box(entry: Json, size: Size) -> BoolMask:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise MaskError(f"box: expected [x, y, width, height], got {box!r:.40}. Export it again.")
    (x, y), (width, height), _ = outline([*box, 0, 0])
    return fill([np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])], size)


# Type of an annotation -> what reads it.
SHAPES = {"mask": _mask, "polygon": _polygon, "bbox": _box}


def _item(one: Drawn, classes: int, ids: Iterator[int]) -> Json:
    note = one.provenance.to_json()
    return {
        "id": one.path.with_suffix("").as_posix(),
        "annotations": list(_annotations(one.mask, classes, ids)) if one.mask is not None else [],
        "attr": {"provenance": note} if note else {},
        "image": {"path": one.path.as_posix(), "size": [one.size[1], one.size[0]]},
    }


def _annotations(mask: Mask, classes: int, ids: Iterator[int]) -> Iterator[Json]:
    height, width = mask.shape
    for index in range(1, classes + 1):
        for _, piece in pieces(mask == index):
            yield {
                "id": next(ids), "type": "mask", "attributes": {}, "group": 0, "label_id": index - 1, "z_order": 0,
                "rle": {"counts": rle.encode(piece), "size": [height, width]},
            }  # fmt: skip


def _categories(classes: Sequence[ClassInfo]) -> Json:
    labels = [{"name": one.name, "parent": "", "attributes": []} for one in classes]
    colours = [bytes.fromhex(one.colour.removeprefix("#")) for one in classes]
    colormap = [{"label_id": i, "r": red, "g": green, "b": blue} for i, (red, green, blue) in enumerate(colours)]
    return {
        "label": {"label_group": [], "labels": labels, "attributes": []},
        "mask": {"colormap": colormap, "attributes": []},
    }
