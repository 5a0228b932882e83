"""YOLO-seg: `images/<split>/x.jpg`, `labels/<split>/x.txt`, `data.yaml` with the names of the classes.

A line of a label file is `class x1 y1 x2 y2 ...`, the class from 0, the outline in parts of the width and the height;
four numbers are a box `class x y width height` about its centre, taken as a filled rectangle. Smaller objects lie above
larger ones, as Ultralytics paints them. An empty label file says "no defect", a missing one that nobody looked.

Of `data.yaml` its `names` are read: a list, or numbers with names. Folders, not it, say which split an image is of.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from annotation.brush import BoolMask
from annotation.contours import area, rings
from annotation.formats.dataset import UNKNOWN, WEAK, Annotated, BadSource, Dataset, Drawn, Losses, Provenance
from annotation.formats.layout import files, pictures, split_named
from annotation.formats.objects import classes_of
from annotation.formats.writing import NO_IGNORE, NO_PROVENANCE, copy_image, new_file
from annotation.masks import IGNORE, ClassInfo, Mask, MaskError, Size
from annotation.shapes import fill

CONFIGS = ("data.yaml", "data.yml", "dataset.yaml")
BOXES = "{count} label files hold boxes: taken as filled rectangles, which are weak labels."
NO_HOLES = "{n} holes were filled: YOLO-seg knows none."
DIGITS = 7  # a tenth of a pixel at a million pixels across

Shape = tuple[int, NDArray[np.float64]]  # index of the class, outline (N, 2) in pixels


def recognise(root: Path) -> Dataset | None:
    """YOLO labels at `root`, if they are there."""
    labels = [path for path in files(root, {".txt"}) if "labels" in path.relative_to(root).parts[:-1]]
    if not labels:
        return None
    config = next((root / name for name in CONFIGS if (root / name).is_file()), None)
    known = {path.relative_to(root).with_suffix("").as_posix(): path for path in labels}
    with_boxes = {path for path in labels if _holds_boxes(path)}
    images = tuple(_annotated(root, path, known, with_boxes) for path in pictures(root))
    used = {one.mask_name for one in images}
    names = [path.relative_to(root).as_posix() for path in labels]
    return Dataset(
        format="YOLO-seg",
        root=root,
        saw=f"{names[0]}" + (f" and {config.name}" if config else ""),
        images=images,
        classes=_read_names(config) if config else (),
        splits={one.name: split for one in images if (split := _split(one.name))},
        strays=tuple((name, "no image in images/ has this name.") for name in names if name not in used),
        notices=(BOXES.format(count=len(with_boxes)),) if with_boxes else (),
    )


def write(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write YOLO-seg."""
    losses, splits = Losses(), set()
    for one in drawn:
        one = replace(one, path=_below_split(one))  # noqa: PLW2901 - the same image, at its place
        copy_image(one, folder / "images")
        splits.add(one.split)
        if one.mask is None:
            continue
        text = "".join(_lines(one.mask, len(classes), losses))
        new_file(folder / "labels", one.path.with_suffix(".txt")).write_text(text, encoding="ascii")
        losses[NO_IGNORE] += int((one.mask == IGNORE).sum())
        losses[NO_PROVENANCE] += one.provenance != UNKNOWN
    _write_config(folder / "data.yaml", classes, splits)
    return losses


def _below_split(one: Drawn) -> PurePosixPath:
    return one.path if one.path.parts[0] == one.split else PurePosixPath(one.split, one.path)


def _annotated(root: Path, path: Path, known: dict[str, Path], with_boxes: set[Path]) -> Annotated:
    name = path.relative_to(root).as_posix()
    parts = list(PurePosixPath(name).with_suffix("").parts)
    if "images" in parts:  # the last of them, as Ultralytics has it
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    label = known.get("/".join(parts))
    if label is None:
        return Annotated(name, path)
    provenance = Provenance(kind=WEAK) if label in with_boxes else UNKNOWN
    return Annotated(name, path, partial(_read, label), label.relative_to(root).as_posix(), provenance)


def _split(name: str) -> str:
    return next((split for part in PurePosixPath(name).parts[:-1] if (split := split_named(part))), "")


def _holds_boxes(path: Path) -> bool:
    return any(len(line.split()) == 5 for line in path.read_text(encoding="utf-8", errors="replace").splitlines())


def _read(path: Path, classes: int, size: Size) -> Mask:
    mask = np.zeros((size[1], size[0]), np.uint8)
    try:
        shapes = [_shape(line, classes, size) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for index, outline in sorted(shapes, key=lambda one: -abs(area(one[1]))):
            mask[fill([outline], size)] = index
    except ValueError as error:  # MaskError is one
        raise MaskError(f"{path.name}: {error}") from error
    return mask


def _shape(line: str, classes: int, size: Size) -> Shape:
    first, *rest = line.split()
    if not re.fullmatch("[0-9]{1,3}", first) or int(first) >= classes:
        raise MaskError(f"has the class {first!r:.20}, expected 0..{classes - 1}. Export it again, or add the class.")
    numbers = np.array([float(one) for one in rest])
    if len(numbers) == 4:
        x, y, width, height = numbers
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2) + (x, y)
    elif len(numbers) >= 6 and len(numbers) % 2 == 0:
        corners = numbers.reshape(-1, 2)
    else:
        raise MaskError(f"has a line of {len(numbers)} numbers, expected 4 or at least 3 pairs. Export it again.")
    return int(first) + 1, corners * size


def _lines(mask: Mask, classes: int, losses: Losses) -> Iterator[str]:
    size = (mask.shape[1], mask.shape[0])
    for index in range(1, classes + 1):
        for ring in rings(mask == index):
            if area(ring) > 0:
                numbers = " ".join(f"{number:.{DIGITS}g}" for number in (ring / size).ravel())
                yield f"{index - 1} {numbers}\n"
            elif _shows_through(mask, fill([ring], size)):
                losses[NO_HOLES] += 1


def _shows_through(mask: Mask, hole: BoolMask) -> bool:
    """Whether a hole holds anything but other classes, which are painted above."""
    return bool(np.isin(mask[hole], (0, IGNORE)).any())


def _write_config(path: Path, classes: Sequence[ClassInfo], splits: Iterable[str]) -> None:
    """Strings of JSON are strings of YAML."""
    lines = [f"{split}: images/{split}" for split in sorted(splits) if split] or ["train: images", "val: images"]
    lines += ["names:", *(f"  {i}: {json.dumps(one.name, ensure_ascii=False)}" for i, one in enumerate(classes))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_names(path: Path) -> tuple[ClassInfo, ...]:
    """The classes under `names`, in the order of their numbers.

    Raises:
        BadSource: They are written in another way than [a, b], one "- a" a line, or one "0: a" a line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadSource(f"{path.name} is no text in UTF-8 ({error}). Save it as UTF-8.") from error
    found = re.search(r"^names:[ \t]*(?:#.*)?(.*(?:\n(?:[ \t]+|- ).*|\n[ \t]*)*)", text, re.MULTILINE)
    entries = _entries(found[1].strip()) if found else []
    if not entries:
        raise BadSource(f"{path.name}: expected names: [scratch, dent], or a line for each. Correct it.")
    classes, indices = classes_of(entries, path.name)
    if 0 in indices:
        raise BadSource(f"{path.name}: lists a class background; the other classes would change their numbers.")
    return classes


def _entries(text: str) -> list[str]:
    if text.startswith("[") and text.endswith("]"):
        return [_plain(one) for one in text[1:-1].split(",") if one.strip()]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if all(line.startswith("- ") for line in lines):
        return [_plain(line[2:]) for line in lines]
    pairs = [re.fullmatch(r"(\d+)\s*:\s*(.+)", line) for line in lines]
    numbered = [(int(pair[1]), _plain(pair[2])) for pair in pairs if pair]
    return [name for _, name in numbered] if [number for number, _ in numbered] == list(range(len(lines))) else []


def _plain(text: str) -> str:
    """A YAML scalar without its quotes."""
    text = text.strip()
    if text[:1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return ""
    return text[1:-1].replace("''", "'") if text[:1] == "'" == text[-1:] else text
