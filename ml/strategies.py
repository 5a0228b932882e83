"""The ways of choosing what to ask: each walks the pool, the most useful image first, and says why (numpy only)."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ml.candidates import TINY, Ask, Candidate, Picks, classes_shown, shuffled

Floats = NDArray[np.float64]

GLOBAL_SHARE = 0.34  # of a stratified batch goes to what is unsure of whatever class (ClaSP PE)
APART = 0.05  # quantile of the distances in the pool below which two picks of a batch are too much alike
SAMPLE = 1000  # candidates whose distances stand for all: ten thousand would be fifty million pairs


def random(pool: list[Candidate], ask: Ask, rng: Generator) -> Picks:
    """Each image with the same chance, copies of one another included."""
    for candidate in pool:
        yield candidate, "drawn at random"


def random_scenes(pool: list[Candidate], ask: Ask, rng: Generator) -> Picks:
    """Each scene with the same chance, and an image of each."""
    # Shuffled again, because a scene of many copies tends to stand further up in the first shuffle.
    for candidate in shuffled(_one_per_scene(pool), rng):
        yield candidate, "drawn at random"


def random_classes(pool: list[Candidate], ask: Ask, rng: Generator) -> Picks:
    """At random, in turn from the images that show each class to the model, and from those that show it none."""
    if not pool:
        return
    mixed = shuffled(_one_per_scene(pool), rng)
    shows = classes_shown([one.class_pixels for one in mixed])
    strata = {
        index: [mixed[row] for row in np.flatnonzero(shows[:, index])]
        for index in np.flatnonzero(shows.any(axis=0)).tolist()
    }
    lists = {index: _saying(partial(_drawn, index=index, ask=ask), some) for index, some in strata.items()}
    yield from _in_turn(lists, dict.fromkeys(lists, 1.0), lambda _: True)


def most(pool: list[Candidate], ask: Ask, rng: Generator, *, of: str, noisy: bool = False) -> Picks:
    """The highest scores first; with noise an image is the likelier the higher its score.

    Source: Kirsch et al., Stochastic batch acquisition (TMLR 2023), power acquisition: log score + Gumbel noise.
    """
    score, words = SCORES[of]
    ranked = _one_per_scene(_by([score(one) for one in pool], pool, ask, rng, noisy=noisy))
    for place, candidate in enumerate(ranked, start=1):
        drawn = "drawn by it, " if noisy else ""
        said = words.format(getattr(candidate, of))
        yield candidate, f"{said}, {drawn}place {place} of {len(ranked)} scenes"


def k_center(pool: list[Candidate], ask: Ask, rng: Generator) -> Picks:
    """Each as unlike those before as possible, by its embedding; the first by chance.

    Source: Sener & Savarese, Core-set (ICLR 2018), greedy. Changed: labelled images, which no model predicts here, are
    no centres.
    """
    if not pool:
        return
    places, minutes = _embeddings(pool), np.array([one.minutes for one in pool])
    numbers = {scene: number for number, scene in enumerate({one.scene: None for one in pool})}
    scenes = np.array([numbers[one.scene] for one in pool])
    nearest, which = np.full(len(pool), np.inf), 0
    while True:
        chosen = pool[which]
        first = np.isinf(nearest[which])
        yield (
            chosen,
            "drawn at random to begin with" if first
            else f"unlike what is chosen: distance {nearest[which]:.2f} from the nearest",
        )  # fmt: skip
        nearest = np.minimum(nearest, _distances(places, places[which]))
        nearest[scenes == scenes[which]] = -1
        which = int((nearest / minutes).argmax())
        if nearest[which] < 0:
            return


def stratified_entropy(pool: list[Candidate], ask: Ask, rng: Generator) -> Picks:
    """Noisy entropy: two thirds in turn for each class, a third for all; none too much like another, as far as it goes.

    Source: ClaSP PE (TMLR 2026), github.com/MIC-DKFZ/nnActive: shares and noise. Changed: whole images instead of
    patches, one image a scene, embeddings apart by the 5 % quantile of the pool's distances.
    """
    if not pool:
        return
    classes = len(pool[0].class_uncertainty)
    scored = {0: [one.uncertainty or 0.0 for one in pool]}
    scored |= {index: [one.class_uncertainty[index - 1] for one in pool] for index in range(1, classes + 1)}
    shares = {index: (1 - GLOBAL_SHARE) / classes if index else GLOBAL_SHARE for index in scored}
    ranked = {index: _by(values, pool, ask, rng, noisy=True) for index, values in scored.items()}
    place = {one.id: row for row, one in enumerate(pool)}
    embeddings = _embeddings(pool)
    limit, taken = _limit(embeddings), set[Hashable]()
    chosen: list[int] = []

    def far(candidate: Candidate) -> bool:
        row = place[candidate.id]
        fits = not chosen or bool(_distances(embeddings[chosen], embeddings[row]).min() >= limit)
        if fits:
            chosen.append(row)
            taken.add(candidate.scene)
        return fits

    def lists() -> dict[int, Picks]:
        return {
            index: _saying(partial(_unsure, index=index, ask=ask), (one for one in order if one.scene not in taken))
            for index, order in ranked.items()
        }

    yield from _in_turn(lists(), shares, far)
    # What is too much alike is still better than nothing.
    yield from _in_turn(lists(), shares, lambda _: True)


SCORES: dict[str, tuple[Callable[[Candidate], float], str]] = {
    "uncertainty": (lambda one: one.uncertainty or 0.0, "the model is unsure: uncertainty {:.2f}"),
    "margin": (lambda one: 1 - (one.margin or 0.0), "two classes are close: margin {:.2f}"),
    "disagreement": (lambda one: one.disagreement or 0.0, "two models disagree: {:.0%} of the defect differs"),
}


# --- what they share --------------------------------------------------------------------------------------------------


def _one_per_scene(candidates: list[Candidate]) -> list[Candidate]:
    """The first candidate of each scene, in order."""
    first: dict[Hashable, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.scene, candidate)
    return list(first.values())


def _by(scores: list[float], pool: list[Candidate], ask: Ask, rng: Generator, *, noisy: bool) -> list[Candidate]:
    """The candidates by score per expected minute, the highest first; ties stay in order."""
    values = np.log(np.maximum(scores, TINY)) - np.log([one.minutes for one in pool])
    if noisy:
        values += rng.gumbel(0, 1 / ask.power, len(pool))
    return [pool[row] for row in np.argsort(-values, kind="stable")]


def _in_turn(lists: dict[int, Picks], shares: dict[int, float], fits: Callable[[Candidate], bool]) -> Picks:
    """From whichever list is furthest behind its share the next image that fits; one image a scene."""
    held: Counter[int] = Counter()
    scenes: set[Hashable] = set()
    open_lists = dict(lists)
    while open_lists:
        turn = max(open_lists, key=lambda index: shares[index] * (held.total() + 1) - held[index])
        for candidate, reason in open_lists[turn]:
            if candidate.scene not in scenes and fits(candidate):
                held[turn] += 1
                scenes.add(candidate.scene)
                yield candidate, reason
                break
        else:
            del open_lists[turn]


def _saying(words: Callable[[Candidate], str], candidates: Iterable[Candidate]) -> Picks:
    return ((candidate, words(candidate)) for candidate in candidates)


def _drawn(candidate: Candidate, index: int, ask: Ask) -> str:
    where = f"the images that show {_name(index, ask)}" if index else "the images without a predicted defect"
    return f"drawn at random from {where}"


def _unsure(candidate: Candidate, index: int, ask: Ask) -> str:
    if not index:
        return f"the model is unsure: uncertainty {candidate.uncertainty:.2f}, drawn by it"
    return f"the model is unsure about {_name(index, ask)}: {candidate.class_uncertainty[index - 1]:.2f}, drawn by it"


def _name(index: int, ask: Ask) -> str:
    return ask.classes[index - 1] if index <= len(ask.classes) else f"class {index}"


def _embeddings(pool: list[Candidate]) -> Floats:
    """(N, D) of unit length."""
    return np.array([one.embedding for one in pool], dtype=np.float64)


def _distances(places: Floats, one: Floats) -> Floats:
    """(N,) in [0, 2] of unit vectors (N, D) from one (D,)."""
    distances: Floats = np.sqrt(np.maximum(2 - 2 * places @ one, 0))
    return distances


def _limit(places: Floats) -> float:
    """The distance that two picks of a batch should have."""
    some = places[:SAMPLE]  # in random order already
    if len(some) < 3:
        return 0.0
    squared = np.maximum(2 - 2 * some @ some.T, 0)[np.triu_indices(len(some), 1)]
    return math.sqrt(np.quantile(squared, APART))
