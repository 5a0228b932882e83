"""Where new images belong: to which scene, and so to which split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from catalog.intake import NewImage
from catalog.models import Project, Scene, Split
from catalog.surfaces import Piece, Surfaces, look_at

SHARES = {Split.TRAIN: 0.70, Split.VAL: 0.15, Split.TEST: 0.15}  # of a project's images


@dataclass(frozen=True)
class Place:
    """A scene (perhaps not yet saved) and a split; of what is kept out, why, and an image of each scene it meets."""

    scene: Scene
    split: str
    kept_out: str
    twins: tuple[str, ...]


def place(project: Project, surfaces: Surfaces, new: Sequence[NewImage], given: Mapping[str, str]) -> list[Place]:
    """A place for each new image, which `surfaces` knows from then on.

    A new scene has the split given for its first image, otherwise one drawn by content. An image that shows a known
    scene joins it, and its split; scenes of one split that meet in it become one. Where another split is given for it,
    or scenes of two splits meet in it, it is kept out.
    """
    placed = []
    for image, seen in zip(new, look_at(surfaces, new), strict=True):
        piece, split, others = _place(project, surfaces, image, seen, given.get(image.name))
        placed.append((len(surfaces.names), split, others))
        surfaces.put(image.name, piece)
    return [
        Place(
            surfaces.pieces[row].scene,
            split,
            _reason(surfaces, others[0], split) if others else "",
            tuple(surfaces.names[other] for other in others),
        )
        for row, split, others in placed
    ]


def _place(
    project: Project, surfaces: Surfaces, image: NewImage, seen: list[int], wanted: str | None
) -> tuple[Piece, str, list[int]]:
    """Its scene, its split, and a row of each scene of another split that it shows."""
    if not seen:
        split = wanted or drawn_split(image.original.sha256, surfaces.held)
        return Piece(Scene(project=project, split=split)), split, []
    pieces = list(dict.fromkeys(surfaces.pieces[row] for row in seen))
    split = wanted or pieces[0].scene.split
    # The image joins a scene of its own split where there is one, even if it has to be kept out for another.
    home = next((piece for piece in pieces if piece.scene.split == split), pieces[0]).scene.split
    shown = [*seen, *(row for piece in pieces for row in piece.foreign)]
    others = {surfaces.pieces[row]: row for row in reversed(shown) if surfaces.pieces[row].scene.split != split}
    piece = surfaces.join([piece for piece in pieces if piece.scene.split == home])
    return piece, split, sorted(others.values(), key=shown.index)


def drawn_split(sha256: str, held: Mapping[str, int]) -> str:
    """The split of a scene that nothing else decides about, drawn by its first image's content among those behind.

    The further a split is behind its share of the images, the likelier it is drawn: so few scenes are divided well too.

    held: images of the project by split.
    """
    among = sum(held.values()) + 1
    behind = [max(0.0, share * among - held.get(split, 0)) for split, share in SHARES.items()]
    draw = int(sha256[:8], 16) / 2**32 * sum(behind)
    return next(split for split, reached in zip(SHARES, accumulate(behind), strict=True) if draw < reached)


def _reason(surfaces: Surfaces, other: int, split: str) -> str:
    there = Split(surfaces.pieces[other].scene.split).label
    return f"Meant for {Split(split).label}, but shows the same surface as {surfaces.names[other][:200]} of {there}."
