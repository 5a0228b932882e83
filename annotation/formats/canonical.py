"""Our own folder: `images/`, `masks/` (index masks of the same names), `classes.json`, maybe `splits.json`.

`classes.json`: `[{"name": "scratch", "colour": "#e6194b"}, ...]` in the order of the indices 1, 2, ...; or the names
alone. Without it the caller has to name the classes. `splits.json`: `{"train": ["images/0001.png", ...], "val": [...],
"test": [...]}`, images by their paths relative to the folder; an image in none is divided at import.
`provenance.json`: where masks come from, `{"images/0001.png": {"kind": "label", "by": "anna"}, ...}`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from annotation.formats.dataset import UNKNOWN, BadSource, Dataset, Drawn, Losses, read_json, read_provenance
from annotation.formats.layout import paired
from annotation.formats.writing import copy_image, new_file, write_json
from annotation.masks import COLOURS, ClassInfo, Mask, read_index_mask, write_index_png, write_palette_png

SPLITS = ("train", "val", "test")


def recognise(root: Path) -> Dataset | None:
    """The canonical folder at `root`, if it is one."""
    if not (root / "images").is_dir() or not ((root / "masks").is_dir() or (root / "classes.json").is_file()):
        return None
    classes, splits, provenance = (root / f"{name}.json" for name in ("classes", "splits", "provenance"))
    images, strays = paired(root, [("images", "masks")], lambda path: partial(read_index_mask, path))
    known = _read_provenances(provenance) if provenance.is_file() else {}
    return Dataset(
        format="canonical",
        root=root,
        saw="images/ with masks/ or classes.json",
        images=tuple(replace(one, provenance=known.get(one.name, UNKNOWN)) for one in images),
        classes=read_classes(classes) if classes.is_file() else (),
        splits=read_splits(splits) if splits.is_file() else {},
        strays=strays,
    )


def write(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write a canonical folder with grey index masks."""
    return _write(folder, classes, drawn, write_index_png)


def write_palette(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write a canonical folder whose masks show in the classes' colours."""
    return _write(folder, classes, drawn, partial(write_palette_png, colours=[one.colour for one in classes]))


def read_classes(path: Path) -> tuple[ClassInfo, ...]:
    """The classes that a `classes.json` lists.

    Raises:
        BadSource: It has another form, or a name comes twice.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise BadSource(f'{path.name}: expected a list such as [{{"name": "scratch", "colour": "#e6194b"}}].')
    classes = tuple(_class(entry, COLOURS[i % len(COLOURS)], path.name) for i, entry in enumerate(entries))
    if len({one.name for one in classes}) < len(classes):
        raise BadSource(f"{path.name}: a class name comes twice. Every index needs a name of its own.")
    return classes


def read_splits(path: Path) -> dict[str, str]:
    """Image name -> train, val or test. The key `labelled` (subsets of train) is passed over: it is for benchmarks.

    Raises:
        BadSource: It has another form, or an image stands in two splits.
    """
    lists = read_json(path)
    if not isinstance(lists, dict) or not set(lists) <= {*SPLITS, "labelled"}:
        raise BadSource(f'{path.name}: expected {{"train": [...], "val": [...], "test": [...]}} with image paths.')
    splits: dict[str, str] = {}
    for split in SPLITS:
        for name in _names(lists.get(split, []), f"{path.name}: {split}"):
            if splits.setdefault(name, split) != split:
                raise BadSource(f"{path.name}: {name} stands in {splits[name]} and in {split}. Keep it in one.")
    return splits


def _write(
    folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn], write_mask: Callable[[Path, Mask], None]
) -> Losses:
    splits, provenances = defaultdict(list), {}
    (folder / "masks").mkdir()
    for one in drawn:
        name = copy_image(one, folder / "images").relative_to(folder).as_posix()
        if one.mask is not None:
            write_mask(new_file(folder / "masks", one.path.with_suffix(".png")), one.mask)
        if one.split:
            splits[one.split].append(name)
        if one.provenance.to_json():
            provenances[name] = one.provenance.to_json()
    write_json(folder / "classes.json", [asdict(one) for one in classes])
    if splits:
        write_json(folder / "splits.json", splits)
    if provenances:
        write_json(folder / "provenance.json", provenances)
    return Losses()


def _read_provenances(path: Path) -> dict[str, Any]:
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise BadSource(f"{path.name}: expected an object with image paths as keys.")
    return {name: read_provenance(entry, f"{path.name}: {name}") for name, entry in entries.items()}


def _class(entry: Any, colour: str, where: str) -> ClassInfo:
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        raise BadSource(f"{where}: expected a class with a name, got {entry!r}.")
    colour = entry.get("colour", colour)
    if not isinstance(colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise BadSource(f"{where}: class {entry['name']}: expected a colour #rrggbb, got {colour!r}.")
    return ClassInfo(entry["name"].strip(), colour)


def _names(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadSource(f"{where}: expected a list of image paths.")
    return value
