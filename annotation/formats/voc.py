"""VOC segmentation, and CVAT's "Segmentation mask 1.1".

`JPEGImages/`, `SegmentationClass/` with masks of the same names, `ImageSets/Segmentation/{train,val,test}.txt` and, by
CVAT and Datumaro, `labelmap.txt` with the colours.

With `labelmap.txt` colours decide, in a palette too; in a grey mask i stands for its i-th line. Without it values are
indices and the caller has to name the classes. VOC's pale border is ignored, as 255 is.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from annotation.formats.dataset import UNKNOWN, BadSource, Dataset, Drawn, Losses, MaskReader
from annotation.formats.layout import paired, split_named
from annotation.formats.objects import classes_of
from annotation.formats.writing import NO_PROVENANCE, copy_image, new_file
from annotation.masks import IGNORE, ClassInfo, Mask, Size, read_colours, read_index_mask, write_palette_png

IMAGES, MASKS, LISTS, LABELMAP = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "labelmap.txt"
BORDER = 0xE0E0C0
LINE = re.compile(r"(?P<name>[^:]+):(?P<red>\d{1,3}),(?P<green>\d{1,3}),(?P<blue>\d{1,3})(:.*)?")


def recognise(root: Path) -> Dataset | None:
    """VOC segmentation at `root`, if it is there."""
    labelmap = root / LABELMAP
    if not (root / MASKS).is_dir():
        return None
    if not (root / IMAGES).is_dir():
        raise BadSource(f'{MASKS}/ is there, {IMAGES}/ is not. Export again with "save images", or add them there.')
    classes, reader = _read_labelmap(labelmap) if labelmap.is_file() else ((), _by_index)
    images, strays = paired(root, [(IMAGES, MASKS)], reader)
    return Dataset(
        format="VOC",
        root=root,
        saw=f"{IMAGES}/ with {MASKS}/" + (f" and {LABELMAP}" if classes else ""),
        images=images,
        classes=classes,
        splits=_read_lists(root / LISTS, [one.name for one in images]),
        strays=strays,
    )


def write(folder: Path, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> Losses:
    """Write VOC segmentation with `labelmap.txt`, as CVAT and Datumaro read it."""
    if name := next((one.name for one in classes if ":" in one.name), None):
        raise BadSource(f"class {name!r} holds a colon, which {LABELMAP} cannot keep. Rename it.")
    losses, lists = Losses(), defaultdict(list)
    colours = _distinct([one.colour for one in classes])
    for one in drawn:
        copy_image(one, folder / IMAGES)
        if one.mask is None:
            continue
        write_palette_png(new_file(folder / MASKS, one.path.with_suffix(".png")), one.mask, colours)
        lists[one.split or "default"].append(one.path.with_suffix("").as_posix())
        losses[NO_PROVENANCE] += one.provenance != UNKNOWN
    for split, names in (lists or {"default": []}).items():
        path = new_file(folder, PurePosixPath(LISTS, f"{split}.txt"))
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    lines = [f"{one.name}:{_numbers(colour)}::" for one, colour in zip(classes, colours, strict=True)]
    (folder / LABELMAP).write_text(
        "\n".join(["# label:color_rgb:parts:actions", "background:0,0,0::", *lines]) + "\n", encoding="utf-8"
    )
    (folder / MASKS).mkdir(exist_ok=True)
    return losses


def _by_index(path: Path) -> MaskReader:
    return partial(read_index_mask, path)


def _read_labelmap(path: Path) -> tuple[tuple[ClassInfo, ...], "partial[MaskReader]"]:
    """The classes of a labelmap, and what makes a reader of a mask's path.

    Raises:
        BadSource: A line has another form, or two share a colour.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise BadSource(f"{path.name} is no text in UTF-8 ({error}). Save it as UTF-8.") from error
    entries = [_entry(line, path.name) for line in lines if line and not line.startswith("#")]
    classes, indices = classes_of([name for name, _ in entries], path.name)
    meaning = {colour: index for (_, colour), index in zip(entries, indices, strict=True)}
    if len(meaning) < len(entries):
        raise BadSource(f"{path.name}: two classes share a colour. Give each its own, and export again.")
    colours = {index: f"#{colour:06x}" for colour, index in meaning.items()}
    coloured = tuple(ClassInfo(one.name, colours[i]) for i, one in enumerate(classes, start=1))
    return coloured, partial(_by_colour, meaning={BORDER: IGNORE, **meaning}, listed=indices)


def _by_colour(path: Path, *, meaning: dict[int, int], listed: Sequence[int]) -> MaskReader:
    def read(classes: int, size: Size) -> Mask:
        return read_colours(path, size, meaning, listed)

    return read


def _entry(line: str, where: str) -> tuple[str, int]:
    found = LINE.fullmatch(line)
    red, green, blue = (int(found[name]) for name in ("red", "green", "blue")) if found else (256, 256, 256)
    if not found or max(red, green, blue) > 255:
        raise BadSource(f"{where}: expected lines such as scratch:230,25,75::, got {line!r:.80}.")
    return found["name"].strip(), red << 16 | green << 8 | blue


def _read_lists(folder: Path, names: Sequence[str]) -> dict[str, str]:
    by_stem = {PurePosixPath(name).relative_to(IMAGES).with_suffix("").as_posix(): name for name in names}
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):  # trainval repeats the first two
        path = folder / f"{split}.txt"
        listed = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        for name in (by_stem[line.strip()] for line in listed if line.strip() in by_stem):
            if splits.setdefault(name, split_named(split)) != split:
                raise BadSource(f"{path.name}: {name} stands in {splits[name]} too. Keep it in one.")
    return splits


def _distinct(colours: Sequence[str]) -> Sequence[str]:
    """The classes' colours if they can be told apart, from black and the border too; otherwise VOC's own."""
    taken = {"#000000", f"#{BORDER:06x}", *(one.lower() for one in colours)}
    return colours if len(taken) == len(colours) + 2 else [_voc_colour(i) for i in range(1, len(colours) + 1)]


def _voc_colour(index: int) -> str:
    """Bits of the index, dealt to the channels from the highest bit down."""
    channels = [sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(3)) for channel in range(3)]
    return "#{:02x}{:02x}{:02x}".format(*channels)


def _numbers(colour: str) -> str:
    return ",".join(map(str, bytes.fromhex(colour.removeprefix("#"))))
