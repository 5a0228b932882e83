"""Which images share a piece of surface under another exposure, shifted, cropped or beside something else (numpy only).

A landmark is a striking place of a surface, freed from its light: where it lies, and what a window around it looks like
when turned the way its steepest waves say. Images that share many landmarks, all moved and turned alike, show the same
surface. Landmarks are compared only where random projections of them agree, so that the cost grows with the number of
images, not with that of their pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.scenes import turned

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

SHRINK = 3  # pixels of an image per pixel of what is looked at; halved for small images, doubled for large ones
SMALL, LARGE = 128, 768  # pixels of the longer side up to which an image is small, from which on it is large
MOST = 24  # landmarks of an image, the most striking first
WINDOW = 33  # pixels of the window around a landmark; odd, or it would move when mirrored
WAVES = 10  # frequencies kept of it per direction
ALIKE = 0.8  # correlation from which on two windows look the same
MET, SHARED = 2, 6  # landmarks that agree before two images are compared by all of theirs, and then pixel by pixel
SAME, NEARBY = 0.6, 6  # correlation of the pixels within so many of each from which on a place is the same
WHOLE = 0.95  # share of the smaller image that has to be the same where nobody asks for pieces
SLACK = 4  # pixels by which shared landmarks may lie apart, for exposures are not cut out to the pixel
TABLES, BITS = 8, 22  # how often landmarks are sorted, by so many random projections
CROWD = 8  # landmarks that one place of a table compares: more are a pattern, not a place
BATCH = 4096  # pairs of images compared at a time: bounds the memory

LANDMARK = np.dtype([("place", "<i2", 2), ("pose", "u1"), ("look", "i1", WAVES * WAVES)])  # 105 bytes

_COSINES: Floats = np.cos(np.pi / WINDOW * np.outer(np.arange(WAVES), np.arange(WINDOW) + 0.5)).astype(np.float32)
_COSINES *= np.hanning(WINDOW + 2)[1:-1].astype(np.float32)
_ODD: Floats = np.where(np.arange(WAVES) % 2, -1, 1).astype(np.float32)


def describe(grey: NDArray[np.uint8]) -> bytes:
    """Up to 24 landmarks of an image (H, W), 105 bytes each; none where nothing stands out, or where it is tiny."""
    surface = evenly_lit(grey)
    places = _striking(surface)
    waves, poses = _canonical(_windows(surface, places))
    looks = waves.reshape(len(places), WAVES * WAVES)
    looks[:, 0] = 0  # the mean is light
    lengths = np.linalg.norm(looks, axis=1, keepdims=True)
    found = np.zeros(len(places), LANDMARK)
    found["place"], found["pose"] = places, poses
    found["look"] = np.clip(np.round(254 * looks / np.maximum(lengths, 1e-6)), -127, 127)
    return found.tobytes()


def pairs(
    described: Sequence[bytes], surface: Callable[[int], Floats], *, overlap: float = WHOLE, since: int = 0
) -> list[tuple[int, int]]:
    """The images (place of the earlier, of the later) that share a piece of surface.

    surface: of an image by its place, as `evenly_lit` makes it; asked for only where landmarks agree.
    overlap: share of the smaller image that has to look the same; a third finds shifted, cropped and composed copies.
    since: place of the first image that is new; pairs of older ones are not looked for.

    Raises:
        ValueError: a description has another length than `describe` makes.
    """
    if any(len(one) % LANDMARK.itemsize for one in described):
        raise ValueError(f"expected landmarks of {LANDMARK.itemsize} bytes each; compute them anew")
    owned = [np.frombuffer(one, LANDMARK) for one in described]
    landmarks = np.concatenate([np.zeros(0, LANDMARK), *owned])
    owner = np.repeat(np.arange(len(owned)), [len(one) for one in owned])
    looks = _unit(landmarks["look"])
    starts = np.searchsorted(owner, np.arange(len(owned) + 1))
    met = _met(*_hits(looks, owner, since), landmarks, owner)
    found: list[tuple[int, int]] = []
    for some in (met[at : at + BATCH] for at in range(0, len(met), BATCH)):
        agreed = _agreeing(*_resembling(some, looks, starts), landmarks, owner, least=SHARED)
        found += [
            (one, other)
            for (one, other), turn, shift in zip(
                agreed.images.tolist(), agreed.turns.tolist(), agreed.shifts.tolist(), strict=True
            )
            if _overlap(surface(one), surface(other), turn, shift) >= overlap
        ]
    return found


# --- one image --------------------------------------------------------------------------------------------------------


def evenly_lit(grey: NDArray[np.uint8]) -> Floats:
    """(h, w): the image shrunk, without what is larger than some ten pixels, and equally strong everywhere."""
    shrink = SHRINK * (0.5 if max(grey.shape) <= SMALL else 1.0)
    while max(grey.shape) > LARGE * shrink / SHRINK:
        shrink *= 2
    height, width = (max(1, round(side / shrink)) for side in grey.shape)
    small = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX), np.float32)
    fine = _blurred(small, 1) - _blurred(small, 1, 4, 4)
    strength = np.sqrt(np.maximum(_blurred(fine**2, 6, 6), 0))
    even: Floats = (fine / (strength + 1)).astype(np.float32)
    return even


def _blurred(pixels: Floats, *radii: int) -> Floats:
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
    strength = np.abs(_blurred(surface, 1, 1))
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


# --- many images ------------------------------------------------------------------------------------------------------


def _unit(looks: NDArray[np.int8]) -> Floats:
    floats = looks.astype(np.float32)
    unit: Floats = floats / np.maximum(np.linalg.norm(floats, axis=1, keepdims=True), 1e-6)
    return unit


def _hits(looks: Floats, owner: Places, since: int) -> tuple[Places, Places]:
    """Landmarks (n,) that look like others (n,) of a later image, as far as the tables show; one image is new."""
    rng = np.random.default_rng(0)  # the same projections for everybody, always
    hits = [np.zeros(0, np.int64)]
    for _ in range(TABLES):
        bits = looks @ rng.standard_normal((looks.shape[1], BITS)).astype(np.float32) > 0
        for one, other in _meetings(bits @ (1 << np.arange(BITS))):
            one, other = np.minimum(one, other), np.maximum(one, other)  # noqa: PLW2901 - in the order of the images
            asked = np.flatnonzero((owner[one] < owner[other]) & (owner[other] >= since))
            same = asked[np.einsum("nk,nk->n", looks[one[asked]], looks[other[asked]]) >= ALIKE]
            hits.append(one[same] * len(looks) + other[same])
    unique = np.unique(np.concatenate(hits))
    return unique // len(looks), unique % len(looks)


def _meetings(codes: Places) -> Iterator[tuple[Places, Places]]:
    """Landmarks that have the same code, at most CROWD places apart in the table."""
    order = np.argsort(codes, kind="stable")
    table = codes[order]
    for step in range(1, min(CROWD, len(table))):
        same = table[step:] == table[:-step]
        if not same.any():
            return
        yield order[:-step][same], order[step:][same]


def _met(ones: Places, others: Places, landmarks: NDArray[np.void], owner: Places) -> Places:
    """(m, 2): pairs of images of which two landmarks at least, by a rough count, move and turn alike."""
    turns, shifts = _moves(landmarks[ones], landmarks[others])
    images = int(owner.max(initial=0)) + 1
    moves, votes = np.unique(
        _coded(owner[ones] * images + owner[others], turns, shifts // (2 * SLACK)), return_counts=True
    )
    pair = np.unique(moves[votes >= MET] >> 27)
    return np.stack([pair // images, pair % images], axis=1)


def _coded(pair: Places, turns: Places, cells: Places) -> Places:
    """(n,): one number for a pair of images, a turn and a cell of shifts."""
    coded: Places = (pair << 27) + (turns << 24) + ((cells[:, 0] + (1 << 11)) << 12) + cells[:, 1] + (1 << 11)
    return coded


def _resembling(some: Places, looks: Floats, starts: Places) -> tuple[Places, Places]:
    """All landmarks (n,) of the first images of pairs (m, 2) that look like others (n,) of the second."""
    rows = [starts[some[:, side], None] + np.arange(MOST) for side in (0, 1)]
    there = [rows[side] < starts[some[:, side] + 1, None] for side in (0, 1)]
    ones, others = (np.where(there[side], rows[side], 0) for side in (0, 1))
    similar = looks[ones] @ looks[others].transpose(0, 2, 1)  # (m, 24, 24)
    pair, one, other = np.nonzero((similar >= ALIKE) & there[0][:, :, None] & there[1][:, None, :])
    return ones[pair, one], others[pair, other]


@dataclass(frozen=True)
class _Agreed:
    """Pairs of images (n, 2) whose landmarks agree on a turn (n,), one of eight, and a shift (n, 2)."""

    images: Places
    turns: Places
    shifts: Places


def _agreeing(ones: Places, others: Places, landmarks: NDArray[np.void], owner: Places, *, least: int) -> _Agreed:
    """The pairs of images of which at least so many landmarks move and turn alike."""
    turns, shifts = _moves(landmarks[ones], landmarks[others])
    images = int(owner.max(initial=0)) + 1
    pair = owner[ones] * images + owner[others]
    best: list[tuple[Places, Places, Places, Places]] = []
    # Four grids, half a cell apart: whatever lies within half a cell lies in one cell of some grid.
    for offset in ((0, 0), (0, 1), (1, 0), (1, 1)):
        moves = _coded(pair, turns, (shifts + np.array(offset) * SLACK // 2) // SLACK)
        # A landmark has one vote, however many it resembles.
        order = np.lexsort((ones, moves))
        first = np.ones(len(order), bool)
        first[1:] = (np.diff(moves[order]) != 0) | (np.diff(ones[order]) != 0)
        voters = order[first]
        _, starts, votes = np.unique(moves[voters], return_index=True, return_counts=True)
        enough = votes >= least
        sums = np.add.reduceat(shifts[voters], starts, axis=0) if len(starts) else np.zeros((0, 2), np.intp)
        means = np.round(sums[enough] / votes[enough, None]).astype(np.intp)
        chosen = voters[starts[enough]]
        best.append((pair[chosen], votes[enough], turns[chosen], means))
    pairs_, votes, turns, means = (np.concatenate(column) for column in zip(*best, strict=True))
    order = np.lexsort((-votes, pairs_))
    unique, at = np.unique(pairs_[order], return_index=True)
    return _Agreed(np.stack([unique // images, unique % images], axis=1), turns[order][at], means[order][at])


def _overlap(one: Floats, other: Floats, turn: int, shift: tuple[int, int]) -> float:
    """The share of the smaller surface on which both look the same, the one turned and shifted."""
    lying = turned(one, turn)
    # A flipped axis counts from the other end.
    top = shift[0] - (lying.shape[0] - 1 if turn & 2 else 0)
    left = shift[1] - (lying.shape[1] - 1 if turn & 1 else 0)
    rows = slice(max(0, top), min(other.shape[0], top + lying.shape[0]))
    columns = slice(max(0, left), min(other.shape[1], left + lying.shape[1]))
    if rows.stop - rows.start < WINDOW // 2 or columns.stop - columns.start < WINDOW // 2:
        return 0.0
    theirs = other[rows, columns]
    ours = lying[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    together = _blurred(ours * theirs, NEARBY)
    alone = np.sqrt(_blurred(ours**2, NEARBY) * _blurred(theirs**2, NEARBY))
    return float((together > SAME * alone).sum() / min(one.size, other.size))


def _moves(ones: NDArray[np.void], others: NDArray[np.void]) -> tuple[Places, Places]:
    """By which turn (n,), one of eight, and which shift (n, 2) each landmark becomes the other."""
    first, second = _turn(ones["pose"]), _turn(others["pose"])
    turn = second.transpose(0, 2, 1) @ first  # (n, 2, 2)
    shift = others["place"] - np.einsum("nij,nj->ni", turn, ones["place"].astype(np.intp))
    transposed, rows, columns = turn[:, 0, 0] == 0, turn[:, 0].sum(axis=1) < 0, turn[:, 1].sum(axis=1) < 0
    return 4 * transposed + 2 * rows + columns, shift


def _turn(poses: NDArray[np.uint8]) -> Places:
    """(n, 2, 2): what each pose does to row and column."""
    down, right = np.where(poses & 2, -1, 1), np.where(poses & 1, -1, 1)
    straight = (poses & 4) == 0
    turn = np.zeros((len(poses), 2, 2), np.intp)
    turn[:, 0, 0], turn[:, 1, 1] = straight * down, straight * right
    turn[:, 0, 1], turn[:, 1, 0] = ~straight * right, ~straight * down
    return turn
