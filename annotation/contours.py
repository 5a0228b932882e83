"""Outlines of masks along the edges of pixels: filled again (`shapes.fill`) they are the mask, pixel for pixel."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush import BoolMask
from annotation.shapes import fill

Ring = NDArray[np.int64]  # (N, 2): x and y of the corners, in pixels; closed without repeating the first


def rings(mask: BoolMask) -> list[Ring]:
    """Every outline of a mask (H, W): outer ones clockwise on the screen, those of holes against it.

    Pixels that touch at a corner only belong together, as a thin slanting scratch does; a ring may pass a corner twice.

    Along any row of pixel corners, an outline's corners pair up from left to right to its horizontal edges, along any
    column from top to bottom to its vertical ones: following the pairs in turn goes round.
    """
    corners, last_in_column = _corners(mask)
    below = _vertical_partners(corners, last_in_column)
    left, right = np.arange(0, len(corners), 2), np.arange(1, len(corners), 2)
    x, y = corners[left].T
    runs_right = np.pad(mask, ((0, 1), (0, 1)))[y, x]  # the mask below the edge, always to the right hand
    start, end = np.where(runs_right, left, right), np.where(runs_right, right, left)
    return [corners[np.stack([start[edges], end[edges]], axis=1).ravel()] for edges in _cycles(below[end] // 2)]


def area(ring: NDArray[Any]) -> float:
    """Pixels that a ring surrounds; negative for a hole's."""
    (x, y), (next_x, next_y) = ring.T, np.roll(ring, -1, axis=0).T
    return float((x * next_y - next_x * y).sum()) / 2


def pieces(mask: BoolMask) -> Iterator[tuple[Ring, BoolMask]]:
    """The outer ring and the mask (H, W) of each connected piece; one that lies in another's hole comes first."""
    height, width = mask.shape
    left = mask.copy()
    for ring in sorted((ring for ring in rings(mask) if area(ring) > 0), key=area):
        piece = fill([ring], (width, height)) & left
        left &= ~piece
        yield ring, piece


def _corners(mask: BoolMask) -> tuple[Ring, BoolMask]:
    """Corners by row, then column; and which of them is the later one in its column where two share a place.

    Two corners lie where four pixels form a chequerboard. Row by row the first ends the edge to the left and the second
    begins the one to the right; which of them takes the edge above decides that the mask's two pixels are joined.
    """
    padded = np.pad(mask, 1)
    above_left, above, beside, here = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    chequered = (above_left == here) & (above == beside) & (above != here)
    y, x = np.nonzero(chequered | (above_left ^ above ^ beside ^ here))
    count = 1 + chequered[y, x]
    y, x = np.repeat(y, count), np.repeat(x, count)
    second = np.zeros(len(x), bool)
    second[1:] = (np.diff(y) == 0) & (np.diff(x) == 0)
    return np.stack([x, y], axis=1), second ^ above_left[y, x]


def _vertical_partners(corners: Ring, last_in_column: BoolMask) -> NDArray[np.int64]:
    """For each corner the one at the other end of its vertical edge."""
    order = np.lexsort((last_in_column, corners[:, 1], corners[:, 0]))
    partners = np.empty(len(corners), np.int64)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners


def _cycles(following: NDArray[np.int64]) -> Iterator[list[int]]:
    """The cycles of a permutation."""
    successor = following.tolist()
    seen = bytearray(len(successor))
    for first in range(len(successor)):
        cycle, at = [], first
        while not seen[at]:
            seen[at] = 1
            cycle.append(at)
            at = successor[at]
        if cycle:
            yield cycle
