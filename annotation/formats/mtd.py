"""Magnetic tile defects as published: `MT_<Class>/Imgs/x.jpg` with the drawing `x.png` beside it.

The folder names the class. Drawings have grey edges: brighter than 127 is defect.
"""

from pathlib import Path

from annotation.formats.dataset import Annotated, Dataset
from annotation.formats.drawings import drawing_of
from annotation.formats.layout import annotated, in_order, pictures
from annotation.masks import named

CLASSES = ("blowhole", "break", "crack", "fray", "uneven")  # the order of PPL's indices
FREE = "free"
HALF = 127

NOTICE = (
    "The drawings of MTD have grey edges; above half of white counts as defect. With any grey, cracks would be half as "
    "large again."
)


def recognise(root: Path) -> Dataset | None:
    """MTD at `root`, if it is there."""
    folders = {path: path.name.removeprefix("MT_").lower() for path in sorted(root.glob("MT_*")) if path.is_dir()}
    known = {path: name for path, name in folders.items() if name in {*CLASSES, FREE}}
    if not known:
        return None
    images: list[Annotated] = []
    strays: list[tuple[str, str]] = []
    for folder, name in known.items():
        files = pictures(folder)
        drawings = {path.with_suffix(""): path for path in files if path.suffix == ".png"}
        photographs = [path for path in files if path.suffix != ".png"]
        # Above 255 is nothing: a tile of this folder is free of defects, whatever its drawing holds.
        reader = drawing_of(0, above=255) if name == FREE else drawing_of(CLASSES.index(name) + 1, above=HALF)
        images += (annotated(root, path, drawings.get(path.with_suffix("")), reader) for path in photographs)
        alone = drawings.keys() - {path.with_suffix("") for path in photographs}
        strays += ((drawings[stem].relative_to(root).as_posix(), "no image beside it.") for stem in sorted(alone))
    return Dataset(
        format="MTD",
        root=root,
        saw=", ".join(path.name for path in known),
        images=in_order(images),
        classes=named(CLASSES),
        strays=tuple(strays),
        notices=(NOTICE,),
    )
