"""PPL's lists: `labeled.txt` and `unlabeled.txt` with lines "image mask", below the data set they speak of.

A mask of the unlabelled list is not read: that is what the list is for. `val.txt` and `test.txt`, beside or above, are
taken along with their masks, which are index masks throughout.
"""

from functools import partial
from pathlib import Path

from annotation.formats.dataset import Annotated, BadSource, Dataset, MaskReader
from annotation.formats.layout import in_order
from annotation.formats.lists import listed, read_lines
from annotation.masks import read_index_mask

LABELLED, UNLABELLED = "labeled.txt", "unlabeled.txt"
LEVELS = 4  # folders above the lists in which their data set is looked for

NOTICE = "PPL's split goes by file: copies of one surface may stand on both sides of it."


def recognise(root: Path) -> Dataset | None:
    """PPL's lists at `root`, if they are there."""
    if not (root / LABELLED).is_file() or not (root / UNLABELLED).is_file():
        return None
    lists = {name: read_lines(root / name, None) for name in (LABELLED, UNLABELLED)}
    data = _data_folder(root, [pair for pairs in lists.values() for pair in pairs])
    lists |= {
        f"{split}.txt": read_lines(path, None) for split in ("val", "test") if (path := _held_out(root, data, split))
    }
    images: dict[str, Annotated] = {}
    splits: dict[str, str] = {}
    strays = []
    for name, pairs in lists.items():
        for pair in pairs:
            one = listed(data, [("", "")], pair, _by_index)
            if one is None:
                strays.append((f"{name}: {' '.join(pair)}"[:500], "listed, but not both are there. Add them."))
                continue
            if one.name in images:
                raise BadSource(f"{name}: {one.name} stands in two lists. Keep it in one.")
            images[one.name] = Annotated(one.name, one.image) if name == UNLABELLED else one
            splits[one.name] = {"val.txt": "val", "test.txt": "test"}.get(name, "train")
    return Dataset(
        format="PPL lists",
        root=data,
        saw=f"{LABELLED} and {UNLABELLED}",
        images=in_order(images.values()),
        splits=splits,
        strays=tuple(strays),
        split_notice=NOTICE,
    )


def _by_index(path: Path) -> MaskReader:
    return partial(read_index_mask, path)


def _data_folder(root: Path, pairs: list[tuple[str, str]]) -> Path:
    """The nearest folder in which the first listed image lies."""
    for folder in [root.resolve(), *root.resolve().parents[:LEVELS]]:
        if pairs and (folder / pairs[0][0]).is_file():
            return folder
    raise BadSource(
        f"{root.name}: the lists name {pairs[0][0] if pairs else 'nothing'}, which is not in a folder above."
    )


def _held_out(root: Path, data: Path, split: str) -> Path | None:
    above = [folder for folder in (root.resolve(), *root.resolve().parents) if folder.is_relative_to(data)]
    return next((path for folder in above if (path := folder / f"{split}.txt").is_file()), None)
