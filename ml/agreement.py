"""How far masks of the same surface agree: the ceiling for a model that is scored against one of them (numpy only)."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml import metrics, scenes
from ml.spec import IGNORE

Mask = NDArray[np.uint8]
View = list[tuple[int, int]]  # images of the same view: place, and the pose in which each lies as the first


def views(descriptors: scenes.Floats, labels: Sequence[int]) -> list[View]:
    """The views that several images show, each image in at most one.

    descriptors: (N, 16, 16).  labels: (N,) the scene of each image; one scene can hold several views (composites).
    """
    members: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        members[label].append(place)
    return [view for places in members.values() if len(places) > 1 for view in _views(descriptors, places)]


def between(masks: Sequence[Mask], classes: int) -> NDArray[np.int64]:
    """Confusion (K, K) of every mask of a view against every other, in both roles; what one ignores does not count.

    masks: of one shape, lying alike.  classes: K, background included.
    """
    counts = np.zeros((classes, classes), np.int64)
    for place, one in enumerate(masks):
        for other in masks[place + 1 :]:
            truth = np.where(other == IGNORE, IGNORE, one).astype(np.uint8)
            counts += metrics.confusion(truth, np.where(other == IGNORE, 0, other).astype(np.uint8), classes)
    return counts + counts.T


def drawn_apart(masks: Sequence[Mask]) -> bool:
    """Whether the masks of a view are several drawings: masks of one shape, not all the same.

    Identical ones are a drawing that was turned along with its image, and say nothing about people.
    """
    return len({mask.shape for mask in masks}) == 1 and any((mask != masks[0]).any() for mask in masks[1:])


def _views(descriptors: scenes.Floats, places: list[int]) -> list[View]:
    found: list[View] = []
    left = list(places)
    while left:
        first, *others = left
        (mates,) = scenes.alike(descriptors[[*others, first]], since=len(others))
        view = [(first, 0)] + [(others[mate], _pose(descriptors, first, others[mate])) for mate in mates.tolist()]
        if len(view) > 1:
            found.append(view)
        seen = {place for place, _ in view}
        left = [place for place in left if place not in seen]
    return found


def _pose(descriptors: scenes.Floats, one: int, other: int) -> int:
    return scenes.nearest(descriptors[one], descriptors[[other]])[1]
