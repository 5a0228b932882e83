"""Run lengths as COCO stores them: down the columns, zeros first; as a list of numbers, or packed into a string.

Packed, each length from the fourth on is its difference to the one two before; a number is cut into groups of 5 bits,
least first, two's complement, each a character from "0" on, with bit 32 set in all but the last.

Source: github.com/cocodataset/cocoapi, common/maskApi.c (rleToString, rleFrString).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush import BoolMask
from annotation.masks import MaskError, Size

Counts = NDArray[np.int64]

LONGEST = 7  # characters a number: 35 bits, more than any image has pixels
LIMIT = 2**33


def encode(mask: BoolMask) -> str:
    """The packed run lengths of a mask (H, W)."""
    flat = mask.ravel(order="F")
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    counts = np.diff(ends, prepend=0)
    return _pack(np.append(0, counts) if flat[0] else counts)


def decode(counts: str | Sequence[int], size: Size) -> BoolMask:
    """The mask (H, W) of run lengths, packed or not.

    Raises:
        MaskError: They are no run lengths, or do not fill an image of this size.
    """
    width, height = size
    lengths = _unpack(counts) if isinstance(counts, str) else _numbers(counts)
    total = int(lengths.sum())
    if total != width * height or (lengths < 0).any():
        raise MaskError(f"RLE: its runs hold {total} pixels, expected {width * height}. Export it again.")
    values = np.arange(lengths.size) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def _pack(counts: Counts) -> str:
    numbers = counts.copy()
    numbers[3:] -= counts[1:-2]
    groups = np.ones(numbers.size, np.int64)
    for bits in range(4, 5 * LONGEST, 5):  # one group holds -16..15
        groups += (numbers < -(1 << bits)) | (numbers >= 1 << bits)
    ends = np.cumsum(groups)
    place = np.arange(ends[-1]) - np.repeat(ends - groups, groups)
    characters = np.repeat(numbers, groups) >> 5 * place & 31 | 32
    characters[ends - 1] &= 31
    return str((characters + 48).astype(np.uint8).tobytes(), "ascii")


def _unpack(text: str) -> Counts:
    characters = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    last = (characters & 32) == 0
    if not characters.size or (characters < 0).any() or (characters > 63).any() or not last[-1]:
        raise MaskError(f"RLE: {text!r:.40} is no packed run-length code. Export it again.")
    ends = np.flatnonzero(last) + 1
    groups = np.diff(ends, prepend=0)
    if groups.max() > LONGEST:
        raise MaskError("RLE: holds a run longer than any image. Export it again.")
    place = np.arange(ends[-1]) - np.repeat(ends - groups, groups)
    numbers = np.add.reduceat((characters & 31) << 5 * place, ends - groups)
    numbers -= ((characters[ends - 1] & 16) != 0) * (np.int64(1) << 5 * groups)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _numbers(counts: Any) -> Counts:
    if not isinstance(counts, list) or not all(type(one) is int and 0 <= one < LIMIT for one in counts):
        raise MaskError(f"RLE: expected a list of run lengths or a string, got {counts!r:.40}. Export it again.")
    return np.array(counts, np.int64)
