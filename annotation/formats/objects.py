"""Masks painted from what object formats hold: outlines and run lengths. What is painted later lies above."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush import BoolMask
from annotation.formats import rle
from annotation.formats.dataset import BadSource
from annotation.masks import ClassInfo, Mask, MaskError, Size, named
from annotation.shapes import fill

Object = tuple[int, Callable[[Size], BoolMask]]  # index of the class, and what gives its pixels

BACKGROUND = "background"  # as the name of a class it is none: its index is 0


def paint(objects: Iterable[Object], size: Size) -> Mask:
    """The index mask (H, W) of objects, each above those before it."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    for index, pixels in objects:
        mask[pixels(size)] = index
    return mask


def outline(points: Any) -> NDArray[np.float64]:
    """The corners (N, 2) of an outline given as [x, y, x, y, ...].

    Raises:
        MaskError: It is none.
    """
    if not isinstance(points, list) or not all(type(one) in {int, float} for one in points):
        raise MaskError(f"outline: expected numbers [x, y, x, y, ...], got {points!r:.40}. Export it again.")
    if len(points) < 6 or len(points) % 2:
        raise MaskError(f"outline: expected at least three points, got {len(points)} numbers. Export it again.")
    try:
        return np.array(points, np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise MaskError(f"outline: holds a number that is too large ({error}). Export it again.") from error


def polygons(outlines: Sequence[Any], size: Size) -> BoolMask:
    """Pixels of any of several outlines [x, y, ...], in pixels."""
    covered = np.zeros((size[1], size[0]), bool)
    for points in outlines:
        covered |= fill([outline(points)], size)
    return covered


def run_lengths(value: Any, size: Size) -> BoolMask:
    """Pixels of {"size": [height, width], "counts": ...}.

    Raises:
        MaskError: It is no such object, or belongs to an image of another size.
    """
    if not isinstance(value, dict) or value.get("size") != [size[1], size[0]]:
        got = value.get("size") if isinstance(value, dict) else value
        raise MaskError(
            f"RLE: expected the size {[size[1], size[0]]} (height, width), got {got!r:.40}. Export it again."
        )
    return rle.decode(value.get("counts", ""), size)


def classes_of(names: Sequence[Any], where: str) -> tuple[tuple[ClassInfo, ...], list[int]]:
    """The classes of these names, and the index of each name: 1, 2, ... in their order, 0 for background.

    Raises:
        BadSource: One is no name, or comes twice, or there are too many for an index mask.
    """
    if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) < len(names):
        raise BadSource(f"{where}: expected different names of classes, got {names!r:.120}.")
    foreground = [name for name in names if name.strip().lower() != BACKGROUND]
    if len(foreground) > 254:
        raise BadSource(f"{where}: names {len(foreground)} classes; an index mask holds at most 254. Merge some.")
    index = {name: i for i, name in enumerate(foreground, start=1)}
    return named([name.strip() for name in foreground]), [index.get(name, 0) for name in names]
