"""Crack data sets with lists: `train.txt`, `val.txt`, `test.txt` of lines `image.jpg,mask.png`.

Files lie in `img/` and `mask/`, in the same below a folder of the split's name, or where the lines say. A crack is what
the mask shows in full brightness (in colours, full green).
"""

from pathlib import Path

from annotation.formats.dataset import Annotated, BadSource, Dataset
from annotation.formats.drawings import drawing_of
from annotation.formats.layout import in_order
from annotation.formats.lists import listed, read_lines
from annotation.masks import named

SPLITS = ("train", "val", "test")
ALMOST_FULL = 254


def recognise(root: Path) -> Dataset | None:
    """Lists of cracks at `root`, if they are there."""
    lists = {split: path for split in SPLITS if (path := root / f"{split}.txt").is_file() and _has_commas(path)}
    if not lists:
        return None
    images: dict[str, Annotated] = {}
    splits: dict[str, str] = {}
    strays = []
    for split, path in lists.items():
        folders = [(f"{split}/img", f"{split}/mask"), ("img", "mask"), (split, split), ("", "")]
        for pair in read_lines(path, ","):
            one = listed(root, folders, pair, drawing_of(1, above=ALMOST_FULL))
            if one is None:
                strays.append((f"{path.name}: {pair[0]},{pair[1]}"[:500], "listed, but not both are there. Add them."))
            elif splits.setdefault(one.name, split) != split:
                raise BadSource(f"{path.name}: {one.name} stands in {splits[one.name]} too. Keep it in one.")
            else:
                images[one.name] = one
    return Dataset(
        format="crack lists",
        root=root,
        saw=f"{', '.join(path.name for path in lists.values())} with lines image,mask",
        images=in_order(images.values()),
        classes=named(("crack",)),
        splits=splits,
        strays=tuple(strays),
    )


def _has_commas(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().count(",") == 1
