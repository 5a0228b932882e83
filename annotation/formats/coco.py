"""COCO: `annotations/instances_<split>.json`, images in `images/`. Outlines and run lengths are read, holes kept.

Each connected piece of a class becomes an annotation: an outline along the edges of its pixels, which fills to the same
pixels again; run lengths where it has holes, for outlines of COCO cannot. Later annotations lie above earlier ones.
An image that the file lists without annotations holds no defect; one that it does not list has not been looked at.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from annotation.contours import area, pieces
from annotation.formats import rle
from annotation.formats.dataset import (
    UNKNOWN,
    Annotated,
    BadSource,
    Dataset,
    Drawn,
    Losses,
    json_files,
    read_provenance,
)
from annotation.formats.layout import split_named
from annotation.formats.listing import Listing
from annotation.formats.objects import Object, classes_of, paint, polygons, run_lengths
from annotation.formats.writing import NO_IGNORE, copy_image
from annotation.masks import IGNORE, ClassInfo, Mask, MaskError, Size

Json = dict[str, Any]

KEYS = {"images", "annotations", "categories"}


def recognise(root: Path) -> Dataset | None:
    """COCO at `root`, if it is there."""
    files = [(path, content) for path, content in json_files(root) if content.keys() >= KEYS]
    if not files:
        return None
    # Beside them lie what keypoints, captions or panoptic files say of the same images.
    files = [(path, content) for path, content in files if path.name.startswith("instances_")] or files
    categories, classes = _categories(files)
    listing = Listing(root, apart="annotations")
    for path, content in files:
        _list(listing, path, content, categories)
    return Dataset(
        format="COCO",
        root=root,
        saw=f"{files[0][0].relative_to(root)} with {', '.join(sorted(KEYS))}",
        images=listing.all(),
        classes=classes,
        splits=listing.splits,
        strays=tuple(listing.strays),
    )


def write(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write COCO: a file for each split."""
    losses = Losses()
    # Kept as text: a tenth of the memory that numbers in lists would take.
    images: dict[str, list[str]] = defaultdict(list)
    annotations: dict[str, list[str]] = defaultdict(list)
    numbers, ids = count(1), count(1)
    for one in drawn:
        copy_image(one, folder / "images")
        if one.mask is None:
            continue
        subset, image = one.split or "default", next(numbers)
        images[subset].append(json.dumps(_image(one, image)))
        for piece in _annotations(one.mask, len(classes)):
            annotations[subset].append(json.dumps({"id": next(ids), "image_id": image, **piece}))
        losses[NO_IGNORE] += int((one.mask == IGNORE).sum())
    categories = [{"id": i, "name": one.name, "supercategory": ""} for i, one in enumerate(classes, start=1)]
    for subset in images or {"default": []}:
        path = folder / "annotations" / f"instances_{subset}.json"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.write(f'{{"info": {{}}, "licenses": [], "categories": {json.dumps(categories)},\n"images": [')
            file.writelines(_separated(images[subset]))
            file.write('],\n"annotations": [')
            file.writelines(_separated(annotations[subset]))
            file.write("]}\n")
    return losses


def pixels(segmentation: Any, size: Size) -> Any:
    """Pixels (H, W) of a segmentation: outlines, or run lengths.

    Raises:
        MaskError: It is neither.
    """
    return polygons(segmentation, size) if isinstance(segmentation, list) else run_lengths(segmentation, size)


def _categories(files: Sequence[tuple[Path, Json]]) -> tuple[dict[int, int], tuple[ClassInfo, ...]]:
    """Index of each category's id, and the classes in the order of the ids."""
    path, first = files[0]
    entries = first["categories"]
    if not isinstance(entries, list) or not all(
        isinstance(one, dict) and type(one.get("id")) is int for one in entries
    ):
        raise BadSource(f'{path.name}: expected categories such as {{"id": 1, "name": "scratch"}}.')
    other = next((other for other, content in files if content["categories"] != entries), None)
    if other:
        raise BadSource(f"{path.name} and {other.name} list different categories. Export them together.")
    if len({one["id"] for one in entries}) < len(entries):
        raise BadSource(f"{path.name}: two categories share an id. Export it again.")
    entries = sorted(entries, key=lambda one: one["id"])
    classes, indices = classes_of([one.get("name") for one in entries], path.name)
    return {one["id"]: index for one, index in zip(entries, indices, strict=True)}, classes


def _list(listing: Listing, path: Path, content: Json, categories: Mapping[int, int]) -> None:
    where, subset = path.relative_to(listing.root).as_posix(), path.stem.removeprefix("instances_")
    drawn = _by_image(content, path.name)
    for entry in _objects(content["images"], path.name):
        file_name, image = entry.get("file_name"), entry.get("id")
        if not isinstance(file_name, str) or not isinstance(image, int | str):
            raise BadSource(f"{where}: expected every image with an id and a file_name, got {entry!r:.80}.")
        name = listing.claim(file_name, (f"images/{subset}", "images", subset), where)
        if name is None:
            continue
        reader = partial(_read, drawn.get(image, []), categories, (entry.get("width"), entry.get("height")))
        note = entry.get("provenance")
        provenance = UNKNOWN if note is None else read_provenance(note, f"{where}: {name}")
        listing.add(Annotated(name, listing.pictures[name], reader, where, provenance), split_named(subset))


def _by_image(content: Json, where: str) -> dict[Any, list[Json]]:
    drawn: dict[Any, list[Json]] = defaultdict(list)
    for entry in _objects(content["annotations"], where):
        image = entry.get("image_id")
        if not isinstance(image, int | str):
            raise BadSource(f"{where}: expected every annotation with an image_id, got {entry!r:.80}.")
        drawn[image].append(entry)
    return drawn


def _objects(value: Any, where: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadSource(f"{where}: expected lists of objects in images and annotations.")
    return value


def _read(drawn: Sequence[Json], categories: Mapping[int, int], listed: Any, classes: int, size: Size) -> Mask:
    if listed != size:
        raise MaskError(
            f"COCO says {listed[0]}x{listed[1]} pixels, the image has {size[0]}x{size[1]}. Export it again."
        )
    return paint((_object(one, categories) for one in drawn), size)


def _object(entry: Json, categories: Mapping[int, int]) -> Object:
    category = entry.get("category_id")
    if type(category) is not int or category not in categories:
        raise MaskError(f"annotation {entry.get('id')} has the unknown category {category!r:.40}. Export it again.")
    if not entry.get("segmentation"):
        raise MaskError(f"annotation {entry.get('id')} has no segmentation, only a box. Export it with outlines.")
    return categories[category], partial(pixels, entry["segmentation"])


def _image(one: Drawn, number: int) -> Json:
    note = one.provenance.to_json()
    width, height = one.size
    return {
        "id": number, "file_name": one.path.as_posix(), "width": width, "height": height,
        **({"provenance": note} if note else {}),
    }  # fmt: skip


def _annotations(mask: Mask, classes: int) -> Iterator[Json]:
    height, width = mask.shape
    for index in range(1, classes + 1):
        for ring, piece in pieces(mask == index):
            size, left_top = int(piece.sum()), ring.min(axis=0)
            whole = size == area(ring)
            yield {
                "category_id": index,
                "segmentation": [ring.ravel().tolist()]
                if whole
                else {"size": [height, width], "counts": rle.encode(piece)},
                "area": size,
                "bbox": [*left_top.tolist(), *(ring.max(axis=0) - left_top).tolist()],
                "iscrowd": 0,
            }


def _separated(entries: Sequence[str]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield f",\n{entry}" if number else entry
