"""Text files that list an image and its mask in each line, paths relative to some folder above or beside them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from annotation.formats.dataset import Annotated, BadSource, MaskReader


def read_lines(path: Path, separator: str | None) -> list[tuple[str, str]]:
    """(image, mask) of each line of a list.

    Raises:
        BadSource: A line holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadSource(f"{path.name} is no text in UTF-8 ({error}). Save it as UTF-8.") from error
    pairs = []
    for line in lines:
        parts = [part.strip() for part in line.split(separator)]
        if len(parts) == 2 and all(parts):
            pairs.append((parts[0], parts[1]))
        elif line.strip():
            raise BadSource(f"{path.name}: expected an image and its mask in each line, got {line!r:.80}.")
    return pairs


def listed(
    root: Path, folders: Sequence[tuple[str, str]], pair: tuple[str, str], reader: Callable[[Path], MaskReader]
) -> Annotated | None:
    """The image of a line with its mask, in the first pair of folders below `root` that holds both."""
    for image_folder, mask_folder in folders:
        image, mask = root / image_folder / pair[0], root / mask_folder / pair[1]
        if _within(root, image, mask) and _is_file(image) and _is_file(mask):
            return Annotated(image.relative_to(root).as_posix(), image, reader(mask), mask.relative_to(root).as_posix())
    return None


def _within(root: Path, *paths: Path) -> bool:
    """Whether a line stays in the data set: it could name any file of the server."""
    return all(".." not in path.parts and path.is_relative_to(root) for path in paths)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than any name can be
        return False
