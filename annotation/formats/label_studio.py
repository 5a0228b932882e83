"""Label Studio's JSON: a list of tasks with their annotations, as it exports them, the images beside or below.

Of several annotations of a task the latest that was not cancelled counts; predictions are no labels. The classes come
from `label_config.xml` beside it where there is one, otherwise from the regions, in the order of their names.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

from annotation.formats.dataset import (
    UNKNOWN,
    Annotated,
    BadSource,
    Dataset,
    Drawn,
    Losses,
    Provenance,
    read_json,
    read_provenance,
)
from annotation.formats.layout import split_named
from annotation.formats.listing import Listing
from annotation.formats.objects import classes_of
from annotation.formats.writing import NO_IGNORE, copy_image
from annotation.formats.xml import parse
from annotation.label_config import IMAGE, label_config
from annotation.masks import COLOURS, IGNORE, ClassInfo, Mask, Size
from annotation.task_json import READERS, local_file_url, read_answer, regions

Json = dict[str, Any]

CONFIG = "label_config.xml"


def recognise(root: Path) -> Dataset | None:
    """Tasks of Label Studio at `root`, if they are there."""
    found = [(path, tasks) for path in sorted(root.glob("*.json")) if (tasks := _tasks(path))]
    if not found:
        return None
    (path, tasks), *others = found
    if others:
        raise BadSource(f"{path.name} and {others[0][0].name} both hold tasks. Keep one, or join them.")
    config = root / CONFIG
    classes = _configured(config) if config.is_file() else _named(tasks, path.name)
    listing = Listing(root)
    for number, task in enumerate(tasks, start=1):
        called = _picture(_address(task, f"{path.name}: task {number}"), listing)
        name = listing.claim(called, ("images",), path.name)
        if name is not None:
            one = _annotated(name, listing.pictures[name], task, classes, path.name)
            listing.add(one, split_named(str(task["data"].get("split", ""))))
    return Dataset(
        format="Label Studio",
        root=root,
        saw=f"{path.name} with tasks",
        images=listing.all(),
        classes=classes,
        splits=listing.splits,
        strays=tuple(listing.strays),
    )


def write(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write tasks with annotations, which Label Studio imports as they are, and its labelling interface."""
    losses = Losses()
    (folder / CONFIG).write_text(label_config(classes) + "\n", encoding="utf-8")
    with (folder / "tasks.json").open("w", encoding="utf-8") as file:
        for number, one in enumerate(drawn):
            copy_image(one, folder / "images")
            file.write(",\n" if number else "[")
            json.dump(_task(one, [info.name for info in classes]), file)
            losses[NO_IGNORE] += 0 if one.mask is None else int((one.mask == IGNORE).sum())
        file.write("]\n" if file.tell() else "[]\n")
    return losses


def _task(one: Drawn, classes: Sequence[str]) -> Json:
    data: Json = {IMAGE: local_file_url(f"images/{one.path}"), "name": one.path.as_posix()}
    if one.split:
        data["split"] = one.split
    if note := one.provenance.to_json():
        data["provenance"] = note
    annotations = [] if one.mask is None else [{"result": regions(one.mask, classes)}]
    return {"data": data, "annotations": annotations}


def _tasks(path: Path) -> list[Json]:
    """The tasks in a file; none if it holds something else."""
    content = read_json(path, object_hook=_packed)
    if not isinstance(content, list):
        return []
    return content if all(isinstance(one, dict) and isinstance(one.get("data"), dict) for one in content) else []


def _packed(value: Json) -> Json:
    """Brush strokes as bytes: an eighth of the memory that lists of numbers take."""
    rle = value.get("rle")
    if isinstance(rle, list) and all(type(one) is int and 0 <= one < 256 for one in rle):
        value["rle"] = bytes(rle)
    return value


def _address(task: Json, where: str) -> str:
    data = task["data"]
    address = data.get(IMAGE) or next((one for one in data.values() if isinstance(one, str) and "/" in one), None)
    if not isinstance(address, str):
        raise BadSource(f"{where} names no image; expected it in data.{IMAGE}.")
    return address


def _picture(address: str, listing: Listing) -> str:
    """The image's path below Label Studio's document root, in the address; or its last part without upload prefix."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets where a host should be
        return address
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
    if listing.find(path, ("images",)):
        return path
    _, _, unprefixed = path.rpartition("/")[2].partition("-")
    return unprefixed or path


def _annotated(name: str, image: Path, task: Json, classes: Sequence[ClassInfo], where: str) -> Annotated:
    annotation = _that_counts(task)
    if annotation is None:
        return Annotated(name, image)
    result = annotation["result"]
    note = task["data"].get("provenance")
    known = read_provenance(note, f"{where}: {name}") if note is not None else _provenance(annotation, result)
    return Annotated(name, image, partial(_read, result, [one.name for one in classes]), where, known)


def _that_counts(task: Json) -> Json | None:
    annotations = task.get("annotations")
    valid = [
        one
        for one in (annotations if isinstance(annotations, list) else ())
        if isinstance(one, dict) and isinstance(one.get("result"), list) and not one.get("was_cancelled")
    ]
    return max(reversed(valid), key=lambda one: str(one.get("updated_at", "")), default=None)


def _provenance(annotation: Json, result: Sequence[Any]) -> Provenance:
    person = annotation.get("completed_by")
    if isinstance(person, dict):
        person = person.get("email")
    origins = Counter(str(one["origin"]) for one in result if isinstance(one, dict) and "origin" in one)
    if person is None and not origins:
        return UNKNOWN
    return Provenance(kind="label", by="" if person is None else str(person), origins=dict(origins))


def _read(result: Sequence[Json], names: Sequence[str], classes: int, size: Size) -> Mask:
    return read_answer(result, classes=names, size=size).mask


def _named(tasks: Sequence[Json], where: str) -> tuple[ClassInfo, ...]:
    found = sorted({label for task in tasks for label in _labels(task)})
    return classes_of(found, where)[0]


def _labels(task: Json) -> Iterator[str]:
    """Names that the regions give; what is no name is told when the image's turn comes."""
    annotation = _that_counts(task)
    for region in annotation["result"] if annotation else ():
        kind, value = (region.get("type"), region.get("value")) if isinstance(region, dict) else (None, None)
        labels = value.get(kind) if isinstance(value, dict) and kind in tuple(READERS) else None
        if isinstance(labels, list):
            yield from (label for label in labels if isinstance(label, str))


def _configured(path: Path) -> tuple[ClassInfo, ...]:
    """The classes that a labelling interface offers, each once, in its order."""
    found: dict[str, ET.Element] = {}
    for label in parse(path).iter("Label"):
        found.setdefault(label.get("value", ""), label)
    classes, _ = classes_of(list(found), path.name)
    return tuple(
        ClassInfo(one.name, _colour(found.get(one.name), COLOURS[i % len(COLOURS)])) for i, one in enumerate(classes)
    )


def _colour(label: ET.Element | None, otherwise: str) -> str:
    colour = "" if label is None else label.get("background", "")
    return colour if len(colour) == 7 and colour.startswith("#") else otherwise
