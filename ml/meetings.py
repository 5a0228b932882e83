"""Which images share a piece of surface under another exposure, shifted, cropped or beside something else (numpy only).

Images that share many landmarks, all moved and turned alike, show the same surface. Landmarks are compared only where
random projections of them agree, so that the cost grows with the number of images, not with that of their pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ml.landmarks import LANDMARK, MOST, WAVES, WINDOW, Floats, Places, blurred
from ml.scenes import turned

ALIKE = 0.8  # correlation from which on two windows look the same
MET, SHARED = 2, 6  # landmarks that agree before two images are compared by all of theirs, and then pixel by pixel
SAME, NEARBY = 0.6, 6  # correlation of the pixels within so many of each from which on a place is the same
WHOLE = 0.95  # share of the smaller image that has to be the same for two pictures of one surface
# ... and from which on two images must not lie on two sides of a split (docs/log.md: why neither more nor less).
RELATED = 0.75
SLACK = 4  # pixels by which shared landmarks may lie apart, for exposures are not cut out to the pixel
TABLES, BITS = 8, 22  # how often landmarks are sorted, by so many random projections
CROWD = 8  # landmarks that one place of a table compares: more are a pattern, not a place
MANY = 2048  # images entered at a time,
BATCH, ROWS = 256, 4096  # pairs of images and of landmarks compared at a time: bounds the memory

# What each of the eight poses does to row and column.
_TURNS: Places = np.array(
    [
        [[0, right], [down, 0]] if transposed else [[down, 0], [0, right]]
        for transposed in (False, True)
        for down in (1, -1)
        for right in (1, -1)
    ]
)


def pairs(
    described: Sequence[bytes],
    surface: Callable[[int], Floats],
    *,
    overlap: float = WHOLE,
    since: int = 0,
    known: Sequence[int] = (),
) -> list[tuple[int, int]]:
    """The images (place of the earlier, of the later) that share a piece of surface.

    surface: of an image by its place, as `evenly_lit` makes it; asked for only where landmarks agree.
    overlap: share of the smaller image that has to look the same; a third finds shifted, cropped and composed copies.
    since: place of the first image that is new; pairs of older ones are not looked for.
    known: the scene of each image as far as it is known; images of one scene are not compared pixel by pixel.

    Raises:
        ValueError: a description has another length than `describe` makes.
    """
    return sorted(
        (one.earlier, one.later)
        for one in meetings(described, since=since)
        if not (known and known[one.earlier] == known[one.later])
        and shared(surface(one.earlier), surface(one.later), one) >= overlap
    )


@dataclass(frozen=True)
class Meeting:
    """Two images, by place, whose landmarks agree once the earlier is turned (one of eight poses) and then shifted."""

    earlier: int
    later: int
    turn: int
    shift: tuple[int, int]


def meetings(described: Sequence[bytes], *, since: int = 0) -> Iterator[Meeting]:
    """Where landmarks of images agree; whether their surfaces do, `shared` tells. Arguments as of `pairs`."""
    index = Index()
    index.add(described[:since])
    for start in range(since, len(described), MANY):
        yield from index.meet(described[start : start + MANY])


class Index:
    """The landmarks of images in the order in which they came: about 4 kB an image, and no pixel of it.

    However the images are dealt out over calls, the same ones meet.
    """

    def __init__(self) -> None:
        self._landmarks: NDArray[np.void] = np.zeros(0, LANDMARK)
        self._owner: NDArray[np.int32] = np.zeros(0, np.int32)
        self._starts = np.zeros(1, np.intp)  # the first landmark of each image, and the end
        # Codes in ascending order, and whose they are: of equal codes, the earliest landmark first.
        self._tables: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = [
            (np.zeros(0, np.int32), np.zeros(0, np.int32)) for _ in range(TABLES)
        ]

    def __len__(self) -> int:
        """How many images it knows."""
        return len(self._starts) - 1

    def add(self, described: Sequence[bytes]) -> None:
        """Know these images from now on, without looking whom they meet.

        Raises:
            ValueError: a description has another length than `describe` makes.
        """
        for start in range(0, len(described), MANY):
            self._enter(described[start : start + MANY])

    def meet(self, described: Sequence[bytes]) -> list[Meeting]:
        """Know these images from now on; where they meet earlier ones, and each other. Sorted by the later image.

        Raises:
            ValueError: a description has another length than `describe` makes.
        """
        entered = self._enter(described)
        hits = [_neighbours(*table, at) for table, at in zip(self._tables, entered, strict=True)]
        met = self._met(np.unique(np.concatenate(hits)))
        found: list[Meeting] = []
        for some in (met[at : at + BATCH] for at in range(0, len(met), BATCH)):
            found += self._agreeing(some)
        return sorted(found, key=lambda one: (one.later, one.earlier))

    def _enter(self, described: Sequence[bytes]) -> list[Places]:
        """For each table, where the landmarks of these images stand in it now."""
        if any(len(one) % LANDMARK.itemsize for one in described):
            raise ValueError(f"expected landmarks of {LANDMARK.itemsize} bytes each; compute them anew")
        new = np.frombuffer(b"".join(described), LANDMARK)
        counts = [len(one) // LANDMARK.itemsize for one in described]
        numbers = np.arange(len(self._landmarks), len(self._landmarks) + len(new), dtype=np.int32)
        images = np.arange(len(self), len(self) + len(described), dtype=np.int32)
        self._landmarks = np.concatenate([self._landmarks, new])
        self._owner = np.concatenate([self._owner, np.repeat(images, counts)])
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(counts, dtype=np.intp)])
        looks, entered = new["look"].astype(np.float32), []
        for place, (projection, (codes, owners)) in enumerate(zip(_projections(), self._tables, strict=True)):
            bits = (looks @ projection > 0).astype(np.float32)
            coded = (bits @ np.exp2(np.arange(BITS, dtype=np.float32))).astype(np.int32)  # below 2^24: exact
            order = np.argsort(coded, kind="stable")
            at = np.searchsorted(codes, coded[order], side="right")
            self._tables[place] = (np.insert(codes, at, coded[order]), np.insert(owners, at, numbers[order]))
            entered.append(at + np.arange(len(at)))
        return entered

    def _met(self, hits: NDArray[np.int64]) -> Places:
        """(m, 2): pairs of images of which two landmarks at least, by a rough count, move and turn alike."""
        same = [np.zeros((2, 0), np.int64)]
        for some in (hits[at : at + ROWS] for at in range(0, len(hits), ROWS)):
            ones, others = some >> 32, some & 0xFFFF_FFFF
            asked = self._owner[ones] != self._owner[others]
            ones, others = ones[asked], others[asked]
            alike = _correlation(self._landmarks["look"][ones], self._landmarks["look"][others]) >= ALIKE
            same.append(np.stack([ones[alike], others[alike]]))
        ones, others = np.concatenate(same, axis=1)
        turns, shifts = _moves(self._landmarks[ones], self._landmarks[others])
        pair = self._pair(ones, others)
        moves, votes = np.unique(_coded(pair, turns, shifts // (2 * SLACK)), return_counts=True)
        return np.stack(np.divmod(np.unique(moves[votes >= MET] >> 27), len(self)), axis=1)

    def _pair(self, ones: Places, others: Places) -> Places:
        """(n,): one number for the image of the one landmark and that of the other."""
        pair: Places = self._owner[ones].astype(np.intp) * len(self) + self._owner[others]
        return pair

    def _resembling(self, some: Places) -> tuple[Places, Places]:
        """All landmarks (n,) of the first images of pairs (m, 2) that look like others (n,) of the second."""
        rows = [self._starts[some[:, side], None] + np.arange(MOST) for side in (0, 1)]
        there = [rows[side] < self._starts[some[:, side] + 1, None] for side in (0, 1)]
        ones, others = (np.where(there[side], rows[side], 0) for side in (0, 1))
        looks = self._landmarks["look"]
        similar = _unit(looks[ones]) @ _unit(looks[others]).transpose(0, 2, 1)  # (m, 24, 24)
        pair, one, other = np.nonzero((similar >= ALIKE) & there[0][:, :, None] & there[1][:, None, :])
        return ones[pair, one], others[pair, other]

    def _agreeing(self, some: Places) -> Iterator[Meeting]:
        """Those of the pairs of images (m, 2) of which at least so many landmarks as are asked move and turn alike."""
        ones, others = self._resembling(some)
        turns, shifts = _moves(self._landmarks[ones], self._landmarks[others])
        pair = self._pair(ones, others)
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
            enough = votes >= SHARED
            sums = np.add.reduceat(shifts[voters], starts, axis=0) if len(starts) else np.zeros((0, 2), np.intp)
            means = np.round(sums[enough] / votes[enough, None]).astype(np.intp)
            chosen = voters[starts[enough]]
            best.append((pair[chosen], votes[enough], turns[chosen], means))
        pairs_, votes, turns, means = (np.concatenate(column) for column in zip(*best, strict=True))
        order = np.lexsort((-votes, pairs_))
        unique, at = np.unique(pairs_[order], return_index=True)
        agreed = zip(unique.tolist(), turns[order][at].tolist(), means[order][at].tolist(), strict=True)
        for one, turn, (down, right) in agreed:
            yield Meeting(one // len(self), one % len(self), turn, (down, right))


def shared(one: Floats, other: Floats, met: Meeting) -> float:
    """The share of the smaller surface on which both look the same. Surfaces of the earlier and of the later image."""
    lying = turned(one, met.turn)
    # A flipped axis counts from the other end.
    top = met.shift[0] - (lying.shape[0] - 1 if met.turn & 2 else 0)
    left = met.shift[1] - (lying.shape[1] - 1 if met.turn & 1 else 0)
    rows = slice(max(0, top), min(other.shape[0], top + lying.shape[0]))
    columns = slice(max(0, left), min(other.shape[1], left + lying.shape[1]))
    if rows.stop - rows.start < WINDOW // 2 or columns.stop - columns.start < WINDOW // 2:
        return 0.0
    theirs = other[rows, columns]
    ours = lying[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    together = blurred(ours * theirs, NEARBY)
    alone = np.sqrt(blurred(ours**2, NEARBY) * blurred(theirs**2, NEARBY))
    return float((together > SAME * alone).sum() / min(one.size, other.size))


# --- landmarks of many images -----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _projections() -> Floats:
    """(8, 100, 22): the same for everybody, always."""
    return np.random.default_rng(0).standard_normal((TABLES, WAVES * WAVES, BITS)).astype(np.float32)


def _neighbours(codes: NDArray[np.int32], numbers: NDArray[np.int32], at: Places) -> NDArray[np.int64]:
    """Pairs (n,) of landmarks, the earlier in the upper half, of those at these places of a table with those of the
    same code before them, at most CROWD places away.
    """
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for step in range(1, CROWD):
        at = at[at >= step]
        at = at[codes[at] == codes[at - step]]  # codes are sorted: what differs here differs further away
        found.append((numbers[at - step].astype(np.int64) << 32) + numbers[at])
    return np.concatenate(found)


def _correlation(ones: NDArray[np.int8], others: NDArray[np.int8]) -> Floats:
    """(n,): of looks (n, 100)."""
    similar: Floats = np.einsum("nk,nk->n", _unit(ones), _unit(others))
    return similar


def _unit(looks: NDArray[np.int8]) -> Floats:
    floats = looks.astype(np.float32)
    lengths = np.sqrt(np.einsum("...k,...k->...", floats, floats))[..., None]  # a third of what linalg.norm takes
    unit: Floats = floats / np.maximum(lengths, 1e-6)
    return unit


def _coded(pair: Places, turns: Places, cells: Places) -> Places:
    """(n,): one number for a pair of images, a turn and a cell of shifts."""
    coded: Places = (pair << 27) + (turns << 24) + ((cells[:, 0] + (1 << 11)) << 12) + cells[:, 1] + (1 << 11)
    return coded


def _moves(ones: NDArray[np.void], others: NDArray[np.void]) -> tuple[Places, Places]:
    """By which turn (n,), one of eight, and which shift (n, 2) each landmark becomes the other."""
    first, second = _TURNS[ones["pose"]], _TURNS[others["pose"]]
    turn = second.transpose(0, 2, 1) @ first  # (n, 2, 2)
    shift = others["place"] - np.einsum("nij,nj->ni", turn, ones["place"].astype(np.intp))
    transposed, rows, columns = turn[:, 0, 0] == 0, turn[:, 0].sum(axis=1) < 0, turn[:, 1].sum(axis=1) < 0
    return 4 * transposed + 2 * rows + columns, shift
