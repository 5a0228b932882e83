"""DAGM 2007 as published: `Class<n>/{Train,Test}/0001.PNG`, a drawing `Label/0001_label.PNG` for each defective image.

The texture names the class of its defect. An image without a drawing holds no defect.
"""

import re
from dataclasses import replace
from pathlib import Path

from annotation.formats.dataset import WEAK, Annotated, Dataset, Provenance
from annotation.formats.drawings import drawing_of, nothing
from annotation.formats.layout import annotated, in_order, pictures, split_named
from annotation.masks import named

TEXTURES = 10
HALF = 127

NOTICE = "DAGM marks a defect by an ellipse around it: weak labels, with sound surface at the edges."


def recognise(root: Path) -> Dataset | None:
    """DAGM at `root`, if it is there."""
    folders = {path: int(found[1]) for path in root.glob("Class*/*") if (found := _texture(path))}
    if not folders:
        return None
    images: list[Annotated] = []
    strays: list[tuple[str, str]] = []
    for folder, texture in folders.items():
        drawings = {path.stem.removesuffix("_label"): path for path in pictures(folder / "Label")}
        photographs = [path for path in pictures(folder) if path.parent == folder]
        reader = drawing_of(texture, above=HALF)
        images += (
            _sound_or_drawn(annotated(root, path, drawings.pop(path.stem, None), reader)) for path in photographs
        )
        strays += ((path.relative_to(root).as_posix(), "no image has its number.") for path in drawings.values())
    return Dataset(
        format="DAGM",
        root=root,
        saw=f"{len(folders)} folders such as {min(folders).relative_to(root)}",
        images=in_order(images),
        classes=named([f"class {texture}" for texture in range(1, TEXTURES + 1)]),
        splits={one.name: split_named(one.name.split("/")[1]) for one in images},
        strays=tuple(strays),
        notices=(NOTICE,),
    )


def _texture(path: Path) -> re.Match[str] | None:
    found = re.fullmatch(r"Class(\d{1,2})", path.parent.name)
    return found if found and 1 <= int(found[1]) <= TEXTURES and path.name in {"Train", "Test"} else None


def _sound_or_drawn(one: Annotated) -> Annotated:
    return replace(one, provenance=Provenance(kind=WEAK)) if one.mask else replace(one, mask=nothing)
