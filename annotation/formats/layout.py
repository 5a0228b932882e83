"""Files of a folder: which are pictures, and which picture belongs to which. Nothing here opens one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from annotation.formats.dataset import Annotated, MaskReader

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MASKS = (".png", ".PNG", ".bmp", ".tif", ".tiff")  # looked for in this order


class Pictures:
    """The pictures below a folder, found by what other files call them. A name cannot lead out of the folder."""

    def __init__(self, root: Path) -> None:
        self.by_name = {path.relative_to(root).as_posix(): path for path in pictures(root)}
        self._by_last_part: dict[str, list[str]] = {}
        for name in self.by_name:
            self._by_last_part.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, name: str, folders: Sequence[str] = ()) -> str | None:
        """The picture of this name in one of the folders, in the root, or the only one anywhere that is called so."""
        name = name.replace("\\", "/")
        tried = (PurePosixPath(folder, name).as_posix() for folder in (*folders, "."))
        if found := next((one for one in tried if one in self.by_name), None):
            return found
        called_so = self._by_last_part.get(PurePosixPath(name).name, [])
        return called_so[0] if len(called_so) == 1 else None


def paired(
    root: Path, folders: Sequence[tuple[str, str | None]], reader: Callable[[Path], MaskReader]
) -> tuple[tuple[Annotated, ...], tuple[tuple[str, str], ...]]:
    """Images with the masks of the same name, and (name, reason) of every mask without an image.

    Args:
        root: The folder that names are relative to.
        folders: Each folder of images with that of its masks, relative to `root`.
        reader: Gives what reads the mask in a file.
    """
    images, strays = [], []
    for image_folder, mask_folder in folders:
        masks = _by_stem(root, mask_folder)
        for path in pictures(root / image_folder):
            mask = masks.pop(path.relative_to(root / image_folder).with_suffix(""), None)
            images.append(annotated(root, path, mask, reader))
            # Several images may share a mask: it is no stray, but there for the next as well.
            used = mask
        strays += _strays(root, image_folder, masks)
    return tuple(sorted(images, key=lambda one: one.name)), tuple(strays)
