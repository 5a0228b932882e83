"""From any format to any other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from annotation.formats.dataset import BadSource, Dataset, Drawn, Losses
from annotation.formats.writing import place, sentences, whole
from annotation.masks import ClassInfo, MaskError, Size

Write = Callable[[Path, Sequence[ClassInfo], Iterable[Drawn]], Losses]
TURNED = range(5, 9)  # EXIF orientations that swap width and height
ORIENTATION = 0x0112


def write_whole(target: Path, write: Write, classes: Sequence[ClassInfo], drawn: Iterable[Drawn]) -> list[str]:
    """Write a data set; the folder appears when all of it is there. What was lost, in sentences.

    Raises:
        BadSource: There is something at `target`, there are no classes, or two images want the same place.
    """
    with whole(target) as folder:
        if not classes:
            raise BadSource("Nothing names the classes. Name them in the order of their indices.")
        return sentences(write(folder, classes, drawn))


def drawn(dataset: Dataset, classes: int, refused: list[tuple[str, str]]) -> Iterator[Drawn]:
    """The images of a data set with their masks, one at a time; (name, reason) of each that cannot be read."""
    for one in dataset.images:
        try:
            size = picture_size(one.image)
            mask = one.mask(classes, size) if one.mask else None
        except MaskError as error:
            refused.append((one.name, str(error)))
            continue
        split = dataset.splits.get(one.name, "")
        yield Drawn(place(one.name), one.image, size, mask, split, one.provenance)


def picture_size(path: Path) -> Size:
    """Width and height of a picture as it is seen; no pixel is decoded.

    Raises:
        MaskError: It is no picture.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            return (height, width) if picture.getexif().get(ORIENTATION) in TURNED else (width, height)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise MaskError(f"the image cannot be read ({error}). Export it again.") from error
