"""Thumbnails of views, and masks drawn over them. Files in, pixels out; nothing is kept."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from annotation.masks import IGNORE

LONG_SIDE = 320  # pixels; twice the width at which pages show a thumbnail, for fine screens
LARGE = 1600  # pixels of the long side of a large view: more than a laptop shows
SHARP = 800  # pixels to which the masks of small images are enlarged, so that their outlines stay thin
LOOK = 1  # counts changes of how pictures are drawn: browsers keep what has the same key
FILL = 0.45  # how much of the class colour covers the surface: the defect must stay visible beneath
GREY = (128, 128, 128)  # what counts neither way


def key(view_sha256: str, mask: str = "", colours: Mapping[int, str] | None = None) -> str:
    """The name of a picture by all that it is made of: equal keys, equal pixels."""
    made_of = f"{LOOK}/{view_sha256}/{mask}/{sorted((colours or {}).items())}"
    return hashlib.sha256(made_of.encode()).hexdigest()


def large(view: Path) -> Image.Image:
    """The view as RGB, at most LARGE pixels on its longer side."""
    with Image.open(view) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    return picture


def layer(mask: NDArray[np.uint8], colours: Mapping[int, str]) -> Image.Image:
    """The classes of a mask, tinted and outlined, as RGBA to lie over a large view of any size.

    Raises:
        ValueError: the mask holds a class without a colour.
    """
    small = Image.fromarray(mask)
    factor = max(1, SHARP // max(small.size)) if max(small.size) <= LARGE else LARGE / max(small.size)
    fitted = np.asarray(
        small.resize((round(small.width * factor), round(small.height * factor)), Image.Resampling.NEAREST)
    )
    edge = _inner_edge(fitted)
    pixels = np.zeros((*fitted.shape, 4), np.uint8)  # (H, W, 4)
    for index in np.unique(fitted[fitted > 0]):
        inside = fitted == index
        pixels[inside] = (*_colour(int(index), colours), round(255 * FILL))
    pixels[edge & (fitted > 0), 3] = 255
    return Image.fromarray(pixels)


def thumbnail(view: Path) -> Image.Image:
    """The view as RGB, at most LONG_SIDE pixels on its longer side."""
    with Image.open(view) as opened:
        small = opened.convert("RGB")
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    return small


def overlay(picture: Image.Image, mask: NDArray[np.uint8], colours: Mapping[int, str]) -> Image.Image:
    """A thumbnail with the classes of `mask` tinted and outlined in their colours (index -> #rrggbb).

    Raises:
        ValueError: the mask holds a class without a colour.
    """
    small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    pixels = np.asarray(picture, dtype=np.float32).copy()  # (H, W, 3)
    edge = _inner_edge(small)
    for index in np.unique(small[small > 0]):
        colour = _colour(int(index), colours)
        inside = small == index
        pixels[inside] = (1 - FILL) * pixels[inside] + FILL * np.array(colour, dtype=np.float32)
        pixels[inside & edge] = colour
    return Image.fromarray(pixels.round().astype(np.uint8))


def mask_in_file(path: Path) -> NDArray[np.uint8]:
    """The index mask in a PNG."""
    with path.open("rb") as file:
        return _read_mask(file, path.name)


def mask_in_shard(shard: Path, member: str) -> NDArray[np.uint8]:
    """The index mask that one member of a masks.zip holds."""
    with ZipFile(shard) as opened, opened.open(member) as file:
        return _read_mask(file, f"{shard.name}/{member}")


def webp(picture: Image.Image) -> bytes:
    """The picture as WebP: a tenth of the same PNG, and textures keep their look. Masks (RGBA) stay as they are."""
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=85, method=2, lossless=picture.mode == "RGBA")
    return data.getvalue()


def _read_mask(file: IO[bytes], name: str) -> NDArray[np.uint8]:
    with Image.open(file) as opened:
        if opened.mode not in {"P", "L"}:
            raise ValueError(f"{name}: expected an index mask (PNG of mode P or L), got mode {opened.mode}.")
        return np.asarray(opened, dtype=np.uint8)


def _colour(index: int, colours: Mapping[int, str]) -> tuple[int, ...]:
    if index == IGNORE:
        return GREY
    if index not in colours:
        raise ValueError(f"The mask holds {index}; the project has classes {sorted(colours)}. Add the class.")
    return ImageColor.getrgb(colours[index])


def _inner_edge(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels with a neighbour above, below, left or right of another class; the picture's border is no edge."""
    padded = np.pad(mask, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    vertical = (centre != padded[:-2, 1:-1]) | (centre != padded[2:, 1:-1])
    horizontal = (centre != padded[1:-1, :-2]) | (centre != padded[1:-1, 2:])
    edge: NDArray[np.bool_] = vertical | horizontal
    return edge
