"""A canonical folder as `ml` reads it: `images/`, `masks/`, perhaps `classes.json` and `splits.json` (numpy only)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml import masks
from ml.spec import SpecError

ENDINGS = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"}

Splits = dict[str, list[str]]  # split -> names of its images


@dataclass(frozen=True)
class Folder:
    """Names are paths relative to `root`, for example images/0001.png, in order.

    masks: the mask of each image that has one.  classes: names of the defect classes 1, 2, ...; empty where unknown.
    """

    root: Path
    names: tuple[str, ...]
    masks: dict[str, Path]
    classes: tuple[str, ...]


def look_into(root: Path) -> Folder:
    """What a folder holds; where there is no `images/`, every image anywhere in it.

    Raises:
        SpecError: there is no image, or classes.json is no list of classes.
    """
    images = root / "images" if (root / "images").is_dir() else root
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        raise SpecError(f"{root}: expected images ({', '.join(sorted(ENDINGS))}), found none; name another folder")
    drawn = masks.beneath(root / "masks") if images != root else {}
    of = {str(path.relative_to(root)): str(path.relative_to(images).with_suffix("")) for path in paths}
    return Folder(
        root=root,
        names=tuple(of),
        masks={name: drawn[stem] for name, stem in of.items() if stem in drawn},
        classes=_classes(root / "classes.json"),
    )


def canonical(root: Path) -> Folder:
    """`look_into` for whoever needs masks and classes: other formats are not read here, annotation.formats does that.

    Raises:
        SpecError: it is of another format, or as `look_into`.
    """
    if not (root / "images").is_dir() or not ((root / "masks").is_dir() or (root / "classes.json").is_file()):
        entries = sorted(path.name for path in root.iterdir())[:5] if root.is_dir() else ["no folder"]
        raise SpecError(
            f"{root}: expected a folder with images/, and masks/ or classes.json; found {', '.join(entries)}. "
            f"From any format that is read, zipped or not, `python -m annotation convert {root} NEW-FOLDER` makes one"
        )
    return look_into(root)


def grey(path: Path) -> NDArray[np.uint8]:
    """The grey values (H, W) of an image.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except OSError as error:
        raise SpecError(f"image {path}: cannot be read ({error}); replace the file") from error


def read_splits(path: Path, names: tuple[str, ...]) -> Splits:
    """The lists of images in a splits.json, its key `labelled` passed over.

    Raises:
        SpecError: it has another form, or lists an image that the folder lacks.
    """
    lists = _json(path)
    if not isinstance(lists, dict):
        raise SpecError(f'{path}: expected {{"train": [...], "val": [...], "test": [...]}}, got another form')
    splits = {split: list(held) for split, held in lists.items() if split != "labelled"}
    if strangers := sorted({name for held in splits.values() for name in held} - set(names)):
        raise SpecError(f"{path}: lists {len(strangers)} images that are not there, the first is {strangers[0]}")
    return splits


def _classes(path: Path) -> tuple[str, ...]:
    entries = _json(path) if path.is_file() else []
    try:
        return tuple(entry if isinstance(entry, str) else str(entry["name"]) for entry in entries)
    except (TypeError, KeyError) as error:
        raise SpecError(f'{path}: expected a list such as [{{"name": "scratch"}}]') from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; name another") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"{path}: not JSON ({error}); write it again") from error
