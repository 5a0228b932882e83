"""The landmarks of an image: striking places of its surface, freed from its light (numpy only).

A landmark is where such a place lies, and what a window around it looks like when turned the way its steepest waves
say. Images that share many of them show the same surface (ml.meetings).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

SHRINK = 3  # pixels of an image per pixel of what is looked at; halved for small images, doubled for large ones
SMALL, LARGE = 128, 768  # pixels of the longer side up to which an image is small, from which on it is large
MOST = 24  # landmarks of an image, the most striking first
WINDOW = 33  # pixels of the window around a landmark; odd, or it would move when mirrored
WAVES = 10  # frequencies kept of it per direction

LANDMARK = np.dtype([("place", "<i2", 2), ("pose", "u1"), ("look", "i1", WAVES * WAVES)])  # 105 bytes

_COSINES: Floats = np.cos(np.pi / WINDOW * np.outer(np.arange(WAVES), np.arange(WINDOW) + 0.5)).astype(np.float32)
_COSINES *= np.hanning(WINDOW + 2)[1:-1].astype(np.float32)
_ODD: Floats = np.where(np.arange(WAVES) % 2, -1, 1).astype(np.float32)


def describe(grey: NDArray[np.uint8]) -> bytes:
    """Up to 24 landmarks of an image (H, W), 105 bytes each; none where nothing stands out, or where it is tiny."""
    return of_surface(evenly_lit(grey))


def of_surface(surface: Floats) -> bytes:
    """What `describe` says of an image whose surface is at hand, as `evenly_lit` makes it."""
    places = _striking(surface)
    waves, poses = _canonical(_windows(surface, places))
    looks = waves.reshape(len(places), WAVES * WAVES)
    looks[:, 0] = 0  # the mean is light
    lengths = np.linalg.norm(looks, axis=1, keepdims=True)
    found = np.zeros(len(places), LANDMARK)
    found["place"], found["pose"] = places, poses
    found["look"] = np.clip(np.round(254 * looks / np.maximum(lengths, 1e-6)), -127, 127)
    return found.tobytes()


def evenly_lit(grey: NDArray[np.uint8]) -> Floats:
    """(h, w): the image shrunk, without what is larger than some ten pixels, and equally strong everywhere."""
    shrink = SHRINK * (0.5 if max(grey.shape) <= SMALL else 1.0)
    while max(grey.shape) > LARGE * shrink / SHRINK:
        shrink *= 2
    height, width = (max(1, round(side / shrink)) for side in grey.shape)
    small = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX), np.float32)
    fine = blurred(small, 1) - blurred(small, 1, 4, 4)
    strength = np.sqrt(np.maximum(blurred(fine**2, 6, 6), 0))
    even: Floats = (fine / (strength + 1)).astype(np.float32)
    return even


def blurred(pixels: Floats, *radii: int) -> Floats:
    """Box means of these radii one after the other."""
    rows, columns = (_blur(side, radii) for side in pixels.shape)
    return (rows @ pixels @ columns.T).astype(np.float32, copy=False)


@lru_cache(maxsize=512)
def _blur(side: int, radii: tuple[int, ...]) -> Floats:
    """(side, side): box means of these radii one after the other, pictures mirrored at their edges."""
    blur = np.eye(side)
    for radius in radii:
        mirrored = np.pad(np.eye(side), ((radius, radius), (0, 0)), mode="symmetric")
        sums = np.cumsum(np.concatenate([np.zeros((1, side)), mirrored]), axis=0)
        blur = (sums[2 * radius + 1 :] - sums[: -2 * radius - 1]) / (2 * radius + 1) @ blur
    return blur.astype(np.float32)


def _striking(surface: Floats) -> Places:
    """(n, 2): row and column of the strongest maxima of |surface|, not too near the edge."""
    strength = np.abs(blurred(surface, 1, 1))
    highest = strength
    for axis in (0, 1):
        lines = np.moveaxis(highest, axis, 0)
        spread = lines.copy()
        for step in (1, 2):
            np.maximum(spread[step:], lines[:-step], out=spread[step:])
            np.maximum(spread[:-step], lines[step:], out=spread[:-step])
        highest = np.moveaxis(spread, 0, axis)
    edge = WINDOW // 2 - 2
    inside = np.zeros(surface.shape, bool)
    inside[edge:-edge, edge:-edge] = True
    places = np.argwhere((strength >= highest) & inside & (strength > 0))
    return places[np.argsort(-strength[tuple(places.T)], kind="stable")[:MOST]]


def _windows(surface: Floats, places: Places) -> Floats:
    """(n, 10, 10): the low frequencies of the window around each place."""
    half = WINDOW // 2
    padded = np.pad(surface, half, mode="symmetric")
    around = np.arange(WINDOW)
    windows = padded[places[:, 0, None, None] + around[:, None], places[:, 1, None, None] + around]
    return (_COSINES @ windows @ _COSINES.T).astype(np.float32, copy=False)


def _canonical(waves: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The windows (n, 10, 10) turned so that brightness rises downwards most and rightwards, and the poses they had.

    A pose holds three bits: 4 = transposed after 2 = rows and 1 = columns were flipped.
    """
    up, left = waves[:, 1, 0] < 0, waves[:, 0, 1] < 0
    flips = np.where(up[:, None, None], _ODD[:, None], 1) * np.where(left[:, None, None], _ODD, 1)
    waves = (waves * flips).astype(np.float32)
    across = waves[:, 0, 1] > waves[:, 1, 0]
    lying = np.where(across[:, None, None], waves.transpose(0, 2, 1), waves)
    return lying.astype(np.float32), 4 * across + 2 * up + left
