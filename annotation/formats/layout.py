"""Files of a folder: which are pictures, and which picture belongs to which. Nothing here opens one."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from annotation.formats.dataset import Annotated, MaskReader

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MASKS = (".png", ".PNG", ".bmp", ".tif", ".tiff")  # looked for in this order
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


def paired(
    root: Path, folders: Sequence[tuple[str, str]], reader: Callable[[Path], MaskReader]
) -> tuple[tuple[Annotated, ...], tuple[tuple[str, str], ...]]:
    """Images with the masks of the same name, and (name, reason) of every mask without an image.

    Args:
        root: The folder that names are relative to.
        folders: Each folder of images with that of its masks, relative to `root`.
        reader: Gives what reads the mask in a file.
    """
    images: list[Annotated] = []
    strays: list[tuple[str, str]] = []
    for image_folder, mask_folder in folders:
        masks = _by_stem(root / mask_folder)
        stems = {path: _stem(path, root / image_folder) for path in pictures(root / image_folder)}
        images += (annotated(root, path, masks.get(stem), reader) for path, stem in stems.items())
        reason = f"no image in {image_folder}/ has this name. Give mask and image the same name."
        alone = masks.keys() - set(stems.values())
        strays += sorted((masks[stem].relative_to(root).as_posix(), reason) for stem in alone)
    return in_order(images), tuple(strays)


def annotated(root: Path, image: Path, mask: Path | None, reader: Callable[[Path], MaskReader]) -> Annotated:
    """An image whose mask, if there is one, stands in a file of its own."""
    name = image.relative_to(root).as_posix()
    return Annotated(name, image, reader(mask), mask.relative_to(root).as_posix()) if mask else Annotated(name, image)


def in_order(images: Iterable[Annotated]) -> tuple[Annotated, ...]:
    """Images sorted by name."""
    return tuple(sorted(images, key=lambda one: one.name))


def pictures(folder: Path) -> list[Path]:
    """Image files below a folder, sorted by name; what file managers hide or leave behind is passed over."""
    return files(folder, PICTURES)


def files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Visible files below a folder with one of these suffixes (in small letters), sorted by name."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):  # not rglob: it would enter hidden folders
        folders[:] = [name for name in folders if not is_hidden(Path(name))]
        suitable = (Path(parent, name) for name in names if Path(name).suffix.lower() in suffixes)
        found += (path for path in suitable if not is_hidden(Path(path.name)) and path.is_file())
    return sorted(found, key=Path.as_posix)


def is_hidden(path: Path) -> bool:
    """Whether any part of a relative path is a dot file or macOS's shadow folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def split_named(word: str) -> str:
    """train, val or test, by any of the names that people give them; empty for anything else."""
    return SPLIT_NAMES.get(word.lower(), "")


def _by_stem(folder: Path) -> dict[Path, Path]:
    """Masks by their path below the folder without suffix; the earlier of MASKS where several share one."""
    found = [path for path in pictures(folder) if path.suffix in MASKS]
    found.sort(key=lambda path: MASKS.index(path.suffix), reverse=True)
    return {_stem(path, folder): path for path in found}


def _stem(path: Path, folder: Path) -> Path:
    return path.relative_to(folder).with_suffix("")
