"""Index masks as files: uint8 (H, W), 0 = background, 255 = ignore (numpy only)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.spec import SpecError


def indices(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """The class indices of a mask that is open.

    Raises:
        SpecError: it holds colours instead.
    """
    if image.mode not in {"L", "P"}:
        raise SpecError(
            f"mask {path}: expected class indices (grey or palette PNG), got mode {image.mode}; export it again"
        )
    return np.array(image, dtype=np.uint8)


def read(path: Path) -> NDArray[np.uint8]:
    """The mask in a file.

    Raises:
        SpecError: it is missing, unreadable or holds colours.
    """
    try:
        with Image.open(path) as image:
            return indices(image, path)
    except FileNotFoundError:
        raise SpecError(f"mask {path}: no such file; check the folder") from None
    except OSError as error:
        raise SpecError(f"mask {path}: cannot be read ({error}); replace the file") from error


def beneath(folder: Path) -> dict[str, Path]:
    """The PNG files of a folder and those beneath it, by their path without its ending."""
    return {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.png"))}
