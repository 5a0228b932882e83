"""Index masks: uint8 (H, W), 0 = background, i = the i-th class, 255 = ignore. Sizes are (width, height), in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

IGNORE = 255  # pixels that count neither in a loss nor in a metric

Mask = NDArray[np.uint8]
Size = tuple[int, int]  # width, height

# Told apart by people with any common colour vision, on grey metal: Sasha Trubetskoy's list, pale ones left out.
COLOURS = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#42d4f4", "#f032e6", "#ffe119",
    "#469990", "#9a6324", "#800000", "#808000", "#000075", "#bfef45", "#911eb4",
)  # fmt: skip


class MaskError(ValueError):
    """A mask that cannot be read; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class ClassInfo:
    """A defect class: its name, and its colour as #rrggbb."""

    name: str
    colour: str


def named(names: Sequence[str]) -> tuple[ClassInfo, ...]:
    """Classes of these names in the default colours, which repeat after the last."""
    return tuple(ClassInfo(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names))


def read_index_mask(path: Path, classes: int, size: Size | None) -> Mask:
    """The mask in a file, its values checked to be 0..classes or 255.

    Args:
        path: An image of one channel or with a palette, saved without loss.
        classes: How many there are, background left out.
        size: What it has to be, or None for any.

    Raises:
        MaskError: It is no index mask, it is damaged, or it has another size or other values.
    """
    mask = _read_indices(path, size)
    unknown = [int(value) for value in np.unique(mask) if classes < value < IGNORE]
    if unknown:
        raise MaskError(
            f"mask {path.name} holds {', '.join(map(str, unknown))}; expected 0..{classes} and {IGNORE} (ignore). "
            "Re-export it, or add the class."
        )
    return mask


def palette(colours: Sequence[str]) -> list[int]:
    """768 numbers, three for each value of a mask: black, the classes' colours, and pale for ignore."""
    table = [0] * 768
    for index, colour in enumerate(colours, start=1):
        table[3 * index : 3 * index + 3] = bytes.fromhex(colour.removeprefix("#"))
    table[3 * IGNORE :] = (224, 224, 192)  # as in PASCAL VOC
    return table


def write_palette_png(target: Path | IO[bytes], mask: Mask, colours: Sequence[str]) -> None:
    """Write a mask as PNG with the classes' colours: every viewer shows them, and the values stay what they are."""
    image = Image.fromarray(mask)
    image.putpalette(palette(colours))
    image.save(target, format="PNG")


def write_index_png(target: Path | IO[bytes], mask: Mask) -> None:
    """Write a mask as grey PNG (mode L)."""
    Image.fromarray(mask).save(target, format="PNG")


def _read_indices(path: Path, size: Size | None) -> Mask:
    try:
        with Image.open(path) as image:
            _check_header(path.name, image, size)
            return np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f"mask {path.name} cannot be read ({error}). Export it again as PNG.") from error


def _check_header(name: str, image: Any, size: Size | None) -> None:
    """Before a pixel is decoded."""
    if size is not None and image.size != size:
        expected, got = (f"{width}x{height}" for width, height in (size, image.size))
        raise MaskError(f"mask {name} is {got} pixels, its image {expected}. Export it in the size of the image.")
    if image.format == "JPEG":
        raise MaskError(f"mask {name} is a JPEG, which changes values. Export it as PNG.")
    if image.mode not in {"L", "P"}:
        raise MaskError(
            f"mask {name} has mode {image.mode}; expected one 8-bit channel (L) or a palette (P). "
            "Export the class indices as an index mask."
        )
