"""Masks drawn bright on dark, whose class something else names: a folder, or the data set as a whole."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from annotation.formats.dataset import MaskReader
from annotation.masks import Mask, Size, read_drawing


def drawing_of(index: int, *, above: int) -> Callable[[Path], MaskReader]:
    """What makes a reader of a drawing's path: brighter than `above` is class `index`."""
    return lambda path: partial(_read, path, index, above)


def nothing(classes: int, size: Size) -> Mask:
    """A mask without a defect."""
    return np.zeros((size[1], size[0]), np.uint8)


def _read(path: Path, index: int, above: int, classes: int, size: Size) -> Mask:
    return np.where(read_drawing(path, size, above=above), np.uint8(index), np.uint8(0))
