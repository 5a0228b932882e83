"""A folder of images, masks and classes whose arrangement is known. Nothing here opens a picture."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotation.masks import ClassInfo

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MASKS = (".png", ".PNG", ".bmp", ".tif", ".tiff")  # looked for in this order


class BadSource(ValueError):
    """A folder or archive that cannot be taken at all; the message says why and what to do."""


@dataclass(frozen=True)
class Layout:
    """Where a source keeps what. `folders` pairs each image folder with the folder of its masks, relative to `root`."""

    name: str
    root: Path
    folders: tuple[tuple[str, str | None], ...]
    classes: tuple[ClassInfo, ...] = ()
    splits: dict[str, str] = field(default_factory=dict)  # image name -> train, val or test
    notice: str = ""  # what a user has to know about how this source is read

    def pairs(self) -> Iterator[tuple[str, Path, Path | None]]:
        """(name relative to root, image file, mask file or None) of every image, sorted by name."""
        for images, masks in self.folders:
            for path in pictures(self.root / images):
                yield path.relative_to(self.root).as_posix(), path, self._mask_of(path, images, masks)

    def strays(self) -> Iterator[tuple[str, str]]:
        """(name, reason) of every mask that belongs to no image: usually a sign of other names than expected."""
        used = {mask for _, _, mask in self.pairs()}
        for images, masks in self.folders:
            for path in pictures(self.root / masks) if masks else ():
                if path not in used:
                    reason = f"no image in {images}/ has this name. Give mask and image the same name."
                    yield path.relative_to(self.root).as_posix(), reason

    def _mask_of(self, image: Path, images: str, masks: str | None) -> Path | None:
        if masks is None:
            return None
        stem = (self.root / masks / image.relative_to(self.root / images)).with_suffix("")
        candidates = (stem.with_name(stem.name + suffix) for suffix in MASKS)
        return next((path for path in candidates if path.is_file()), None)


def pictures(folder: Path) -> list[Path]:
    """Image files below a folder, sorted by name; what file managers hide or leave behind is passed over."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    visible = (path for path in found if not is_hidden(path.relative_to(folder)) and path.is_file())
    return sorted(visible, key=Path.as_posix)


def is_hidden(path: Path) -> bool:
    """Whether any part of a relative path is a dot file or macOS's shadow folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        BadSource: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError alike
        raise BadSource(f"{path.name} is not JSON ({error}). Correct it, or leave it out.") from error
