"""Which images show the same piece of surface as a whole: exact copies, and copies turned by quarters or mirrored.

Other exposures, shifted and cropped copies and pieces beside something else are found by ml.landmarks.

A descriptor holds the low spatial frequencies of an image. Mirroring an image flips signs among its cosine
coefficients and transposing it transposes them, so all eight poses are compared without turning a picture. Compression
noise lives in the high frequencies, light that falls off in the very lowest: both are left out.

Measured on NEU-Seg (4,470 images, rotations re-compressed as JPEG; pairs of neu_groups.json): at SAME = 0.98 recall
0.995, precision 1.000. What is missed are pairs of pictures taken a little apart.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Pixel = TypeVar("Pixel", bound=np.generic)

SIDE = 64  # pixels an image is shrunk to before its frequencies are taken
KEPT = 16  # frequencies kept per direction
SLOPES = 3  # frequencies (u + v) below this are the light on the surface, not the surface
FLAT = 0.05  # grey levels (rms) below which an image has nothing that could be compared
SAME = 0.98  # correlation of two descriptors from which on they show the same piece of surface
BYTES = 2 * KEPT * KEPT  # of a descriptor
REACH = 2 * (1 - SAME) + 1e-5  # squared distance of two descriptors that are alike, and rounding
ROWS, BLOCK = 256, 4096  # images compared with how many at a time: bounds the memory
PAIRS = 1024  # compared in all poses at a time: ten kilobytes each

_POSITIONS = np.arange(SIDE, dtype=np.float32) + 0.5
_FREQUENCIES = np.arange(KEPT, dtype=np.float32)
_COSINES: Floats = (np.cos(np.pi / SIDE * np.outer(_FREQUENCIES, _POSITIONS)) * np.sqrt(2 / SIDE)).astype(np.float32)
# Natural surfaces hold less the higher the frequency: the root of the frequency lifts fine texture to its share.
_WEIGHTS: Floats = np.sqrt(np.hypot.outer(_FREQUENCIES, _FREQUENCIES)).astype(np.float32)
_WEIGHTS[np.add.outer(_FREQUENCIES, _FREQUENCIES) < SLOPES] = 0


def descriptor(grey: NDArray[np.uint8]) -> bytes:
    """512 bytes that describe an image (H, W), alike for its rotated and mirrored copies up to their pose."""
    # Not BOX: where a pixel's middle falls on an edge, that takes it on one side only, and mirrored copies differ.
    shrunk = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    weighted = _WEIGHTS * (_COSINES @ shrunk @ _COSINES.T)
    length = float(np.linalg.norm(weighted))
    if length < FLAT * SIDE:
        return bytes(BYTES)
    return (weighted / length).astype("<f2").tobytes()


def stack(descriptors: Sequence[bytes]) -> Floats:
    """(N, 16, 16) float32 of N descriptors: unit length, or zero for flat images."""
    if any(len(one) != BYTES for one in descriptors):
        raise ValueError(
            f"expected descriptors of {BYTES} bytes, as ml.scenes.descriptor makes them; compute them anew"
        )
    return np.frombuffer(b"".join(descriptors), "<f2").astype(np.float32).reshape(-1, KEPT, KEPT)


def alike(new: Floats, known: Floats) -> Iterator[NDArray[np.intp]]:
    """For each of `new` in turn, the rows of `known` that show the same piece of surface. Both (N, 16, 16)."""
    matches: list[list[int]] = [[] for _ in range(len(new))]
    for rows, columns in _few(_near(new, known)):
        same = _same(new[rows], known[columns])
        for row, column in zip(rows[same].tolist(), columns[same].tolist(), strict=True):
            matches[row].append(column)
    return (np.array(sorted(found), dtype=np.intp) for found in matches)


def group(descriptors: Sequence[bytes], known: Sequence[bytes] = ()) -> list[int]:
    """A label for each of `known` and then of `descriptors`: the place of the first image that shows its scene.

    Scenes are transitive: where b shows a and c shows b, all three are one.
    """
    images = stack([*known, *descriptors])
    return joined(len(images), ((row, other) for row, found in enumerate(alike(images, images)) for other in found))


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """A label for each of `count` images: the first of those that pairs join it with, directly or through others."""
    labels = list(range(count))

    def first(place: int) -> int:
        while labels[place] != place:
            labels[place] = labels[labels[place]]
            place = labels[place]
        return place

    for one, other in pairs:
        low, high = sorted((first(one), first(int(other))))
        labels[high] = low
    return [first(place) for place in range(count)]


def nearest(one: Floats, others: Floats) -> tuple[int, int]:
    """Which of `others` (N, 16, 16) shows most of what `one` (16, 16) shows, and in which of eight poses.

    `turned(pixels of the other, pose)` lies as the one does.
    """
    correlations = (_poses(others).reshape(8, len(others), -1) @ one.ravel()).T  # (N, 8)
    which, pose = np.unravel_index(int(correlations.argmax()), correlations.shape)
    return int(which), int(pose)


def turned(pixels: NDArray[Pixel], pose: int) -> NDArray[Pixel]:
    """Pixels (H, W) in one of the eight poses that `nearest` tells."""
    transpose, flip_rows, flip_columns = pose & 4, pose & 2, pose & 1
    lying = pixels.T if transpose else pixels
    return np.ascontiguousarray(lying[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _near(new: Floats, known: Floats) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of rows that may be alike, among them all that are: whose poseless descriptors are near.

    Images lie in tiles of the plane that spreads them most; tiles too far apart in it are never compared.
    """
    ours, theirs = _poseless(new), _poseless(known)
    if not len(ours) or not len(theirs):
        return
    plane = _widest_plane(theirs)
    tiles, corners = _tiles(theirs @ plane)
    lengths = (theirs**2).sum(axis=1)
    for rows, (low, high) in zip(*_tiles(ours @ plane), strict=True):
        gaps = np.maximum(0, np.maximum(corners[:, 0] - high, low - corners[:, 1]))
        close = np.flatnonzero((gaps**2).sum(axis=1) <= REACH)
        if not len(close):
            continue
        columns = np.concatenate([tiles[tile] for tile in close])
        for some in (columns[start : start + BLOCK] for start in range(0, len(columns), BLOCK)):
            squared = (ours[rows] ** 2).sum(axis=1)[:, None] + lengths[some] - 2 * ours[rows] @ theirs[some].T
            i, j = np.nonzero(squared <= REACH)
            yield rows[i], some[j]


def _few(
    pairs: Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The same pairs, at most PAIRS at a time: a set of many copies has many of them."""
    for rows, columns in pairs:
        for at in range(0, len(rows), PAIRS):
            yield rows[at : at + PAIRS], columns[at : at + PAIRS]


def _poseless(images: Floats) -> Floats:
    """(N, 256): descriptors without what tells their pose. No two lie further apart than the nearest of their poses.

    Poses change signs and swap (u, v) with (v, u): magnitudes, the larger of each two first, stay.
    """
    sizes = np.abs(images)
    rows, columns = np.triu_indices(KEPT)
    larger = np.maximum(sizes, sizes.transpose(0, 2, 1))[:, rows, columns]
    smaller = np.minimum(sizes, sizes.transpose(0, 2, 1))[:, rows, columns][:, rows != columns]
    return np.concatenate([larger, smaller], axis=1)


def _widest_plane(points: Floats) -> Floats:
    """(256, 2): the two directions in which the points lie furthest apart. Any two would do, these part most."""
    if len(points) <= ROWS:  # one tile, whatever the plane; and of a handful no spread can be told
        return np.eye(points.shape[1], 2, dtype=np.float32)
    some = points[:: max(1, len(points) // 2000)]
    _, directions = np.linalg.eigh(np.cov(some.T))
    plane: Floats = directions[:, -2:].astype(np.float32)
    return plane


def _tiles(points: Floats) -> tuple[list[NDArray[np.intp]], Floats]:
    """Rows of at most ROWS points (N, 2) that lie together, and each tile's lowest and highest corner (T, 2, 2)."""
    by_first = np.argsort(points[:, 0], kind="stable")
    slab = ROWS * max(1, round((len(points) / ROWS) ** 0.5))
    tiles = []
    for start in range(0, len(points), slab):
        rows = by_first[start : start + slab]
        rows = rows[np.argsort(points[rows, 1], kind="stable")]
        tiles += [rows[at : at + ROWS] for at in range(0, len(rows), ROWS)]
    return tiles, np.stack([(points[rows].min(axis=0), points[rows].max(axis=0)) for rows in tiles])


def _poses(images: Floats) -> Floats:
    """(8, N, 256): the descriptors of the eight poses of each image."""
    odd = (-1.0) ** _FREQUENCIES
    signs = [np.outer(rows, columns) for rows in (odd**0, odd) for columns in (odd**0, odd)]
    poses = [turned * sign for turned in (images, images.transpose(0, 2, 1)) for sign in signs]
    return np.stack(poses).astype(np.float32).reshape(8, len(images), KEPT * KEPT)


def _same(ones: Floats, others: Floats) -> NDArray[np.bool_]:
    """(N,): whether the two of each pair (N, 16, 16) are near in some pose.

    Distances, not correlations: flat images (all zero) match each other.
    """
    nearest = np.einsum("pnk,nk->pn", _poses(ones), others.reshape(-1, KEPT * KEPT)).max(axis=0)
    squared = (ones**2).sum(axis=(1, 2)) + (others**2).sum(axis=(1, 2)) - 2 * nearest
    near: NDArray[np.bool_] = squared <= 2 * (1 - SAME)
    return near
