"""Which images show the same piece of surface as a whole: exact copies, and copies turned by quarters or mirrored.

Other exposures, shifted and cropped copies and pieces beside something else are found by ml.meetings.

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
LONG = 8  # frequencies below this length are compared first
ROWS, BLOCK = 256, 2048  # images compared with how many at a time: what is made of them stays in the cache
PAIRS = 1024  # compared in all poses at a time: five kilobytes each

_POSITIONS = np.arange(SIDE, dtype=np.float32) + 0.5
_FREQUENCIES = np.arange(KEPT, dtype=np.float32)
_COSINES: Floats = (np.cos(np.pi / SIDE * np.outer(_FREQUENCIES, _POSITIONS)) * np.sqrt(2 / SIDE)).astype(np.float32)
# Natural surfaces hold less the higher the frequency: the root of the frequency lifts fine texture to its share.
_WEIGHTS: Floats = np.sqrt(np.hypot.outer(_FREQUENCIES, _FREQUENCIES)).astype(np.float32)
_WEIGHTS[np.add.outer(_FREQUENCIES, _FREQUENCIES) < SLOPES] = 0
# Those on one side of the diagonal.
_LONG = np.nonzero(np.triu((_WEIGHTS > 0) & (np.hypot.outer(_FREQUENCIES, _FREQUENCIES) < LONG), 1))
# (4, 256): what mirroring rows and columns does to the coefficients.
_ODD = (-1.0) ** _FREQUENCIES
_FLIPS: Floats = np.stack(
    [np.outer(down, right).ravel() for down in (_ODD**0, _ODD) for right in (_ODD**0, _ODD)]
).astype(np.float32)


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


def alike(images: Floats, *, since: int = 0) -> Iterator[NDArray[np.intp]]:
    """For each image from `since` on in turn, the earlier ones (places) that show the same piece of surface.

    images: (N, 16, 16), as `stack` makes them.
    """
    matches: list[list[int]] = [[] for _ in range(since, len(images))]
    for later, earlier in _near(images, since):
        for at in range(0, len(later), PAIRS):
            ones, others = later[at : at + PAIRS], earlier[at : at + PAIRS]
            same = _same(images[ones], images[others])
            for one, other in zip(ones[same].tolist(), others[same].tolist(), strict=True):
                matches[one - since].append(other)
    return (np.array(found, dtype=np.intp) for found in matches)


def group(descriptors: Sequence[bytes], known: Sequence[bytes] = ()) -> list[int]:
    """A label for each of `known` and then of `descriptors`: the place of the first image that shows its scene.

    Scenes are transitive: where b shows a and c shows b, all three are one.
    """
    images = stack([*known, *descriptors])
    return joined(len(images), ((row, other) for row, found in enumerate(alike(images)) for other in found))


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


def _near(images: Floats, since: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Places of later and of earlier images, among them all pairs that are alike: their poseless waves are near.

    All are compared with all, yet by one product of short rows: 2 ns a pair (docs/results/scenes.md).
    """
    waves = _poseless(images)
    squares, ones = (waves**2).sum(axis=1, keepdims=True), np.ones((len(waves), 1), np.float32)
    # The product of two rows is REACH less their squared distance.
    left, right = np.hstack([2 * waves, REACH - squares, ones]), np.hstack([waves, ones, -squares])
    for start in range(since, len(images), ROWS):
        stop = min(start + ROWS, len(images))
        for at in range(0, stop, BLOCK):
            near = left[start:stop] @ right[at : min(at + BLOCK, stop)].T >= 0
            later, earlier = np.divmod(np.flatnonzero(near), near.shape[1])
            before = earlier + at < later + start
            yield later[before] + start, earlier[before] + at


def _poseless(images: Floats) -> Floats:
    """(N, 46): long waves without what tells their pose. No two lie further apart than the nearest of their poses.

    Poses change signs and swap (u, v) with (v, u): magnitudes, the larger of each two first, stay.
    """
    rows, columns = _LONG
    ones, others = np.abs(images[:, rows, columns]), np.abs(images[:, columns, rows])
    return np.hstack([np.maximum(ones, others), np.minimum(ones, others)])


def _poses(images: Floats) -> Floats:
    """(8, N, 256): the descriptors of the eight poses of each image."""
    lying = [turned.reshape(len(images), -1) for turned in (images, images.transpose(0, 2, 1))]
    return np.stack([one * flip for one in lying for flip in _FLIPS])


def _same(ones: Floats, others: Floats) -> NDArray[np.bool_]:
    """(N,): whether the two of each pair (N, 16, 16) are near in some pose.

    Distances, not correlations: flat images (all zero) match each other.
    """
    lying = (ones * others, ones * others.transpose(0, 2, 1))
    nearest = np.hstack([one.reshape(len(ones), -1) @ _FLIPS.T for one in lying]).max(axis=1)
    squared = (ones**2).sum(axis=(1, 2)) + (others**2).sum(axis=(1, 2)) - 2 * nearest
    near: NDArray[np.bool_] = squared <= 2 * (1 - SAME)
    return near
