"""Index masks: uint8 (H, W), 0 = background, i = the i-th class, 255 = ignore. Sizes are (width, height), in pixels."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
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


def read_drawing(path: Path, size: Size | None, *, above: int) -> NDArray[np.bool_]:
    """Where a drawing (H, W), grey or in colours, is brighter than `above`; of colours the green counts.

    Raises:
        MaskError: It is damaged, no picture, or has another size.
    """
    with _opened(path, size, modes=None) as image:
        bright: NDArray[np.bool_] = np.asarray(image.convert("RGB").getchannel("G")) > above
        return bright


def read_colours(path: Path, size: Size | None, indices: Mapping[int, int], listed: Sequence[int]) -> Mask:
    """The mask in a picture whose colours stand for classes.

    Args:
        path: An image in colours or with a palette; in a grey one i stands for the i-th of `listed`.
        size: What it has to be, or None for any.
        indices: Colour as 0xrrggbb -> value in the mask.
        listed: Values in the mask.

    Raises:
        MaskError: It is damaged, no picture, has another size or other colours.
    """
    with _opened(path, size, modes={"L", "P", "RGB", "RGBA"}) as image:
        if image.mode == "L":
            return _translated(path.name, np.asarray(image).astype(np.int64), dict(enumerate(listed)), "{}")
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.int64), 2, 0)
    return _translated(path.name, red << 16 | green << 8 | blue, indices, "#{:06x}")


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
    with _opened(path, size, modes={"L", "P"}) as image:
        return np.asarray(image)


def _translated(name: str, codes: NDArray[np.int64], meaning: Mapping[int, int], shown: str) -> Mask:
    mask, known = np.zeros(codes.shape, np.uint8), np.zeros(codes.shape, bool)
    for code, value in meaning.items():  # some comparisons are ten times as fast as sorting the pixels
        there = codes == code
        mask[there] = value
        known |= there
    if not known.all():
        unknown = map(shown.format, np.unique(codes[~known])[:5].tolist())
        raise MaskError(
            f"mask {name} holds {', '.join(unknown)}; expected {', '.join(map(shown.format, meaning))}. "
            "Export it again, or list the colour."
        )
    return mask


@contextmanager
def _opened(path: Path, size: Size | None, *, modes: AbstractSet[str] | None) -> Iterator[Any]:
    try:
        with Image.open(path) as image:
            _check_header(path.name, image, size, modes)
            yield image
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f"mask {path.name} cannot be read ({error}). Export it again as PNG.") from error


def _check_header(name: str, image: Any, size: Size | None, modes: AbstractSet[str] | None) -> None:
    """Before a pixel is decoded."""
    if size is not None and image.size != size:
        expected, got = (f"{width}x{height}" for width, height in (size, image.size))
        raise MaskError(f"mask {name} is {got} pixels, its image {expected}. Export it in the size of the image.")
    if image.format == "JPEG":
        raise MaskError(f"mask {name} is a JPEG, which changes values. Export it as PNG.")
    if modes is not None and image.mode not in modes:
        raise MaskError(
            f"mask {name} has mode {image.mode}; expected one 8-bit channel (L) or a palette (P). "
            "Export the class indices as an index mask."
        )
