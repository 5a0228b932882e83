"""Where new images belong: to which scene, and so to which split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from catalog.intake import NewImage
from catalog.models import Image, Project, Scene, Split
from ml import scenes

# Of the scenes that no given split decides about, by the first digits of their first image's sha256.
TRAIN_SHARE, VAL_SHARE = 0.70, 0.15


@dataclass(frozen=True)
class Place:
    """A scene (perhaps not yet saved), a split, and why the image is kept out, if it is."""

    scene: Scene
    split: str
    kept_out: str


@dataclass
class Surfaces:
    """What the images of a project show, in the order they came: row i of each belongs to the same image."""

    descriptors: scenes.Floats  # (N, 16, 16)
    names: list[str] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)


def surfaces_of(project: Project) -> Surfaces:
    """What the project's images show: about a kilobyte each."""
    known = list(Image.objects.filter(project=project).order_by("pk").values_list("descriptor", "name", "scene"))
    by_pk = {scene.pk: scene for scene in Scene.objects.filter(project=project)}
    return Surfaces(
        scenes.stack([bytes(descriptor) for descriptor, _, _ in known]),
        [name for _, name, _ in known],
        [by_pk[scene] for _, _, scene in known],
    )


def place(project: Project, surfaces: Surfaces, new: Sequence[NewImage], given: Mapping[str, str]) -> list[Place]:
    """A place for each new image, which `surfaces` knows from then on.

    A new scene has the split given for its first image, otherwise one drawn by content. An image that shows a known
    scene joins it, and its split. Where another split is given for it, or scenes of two splits meet in it, it is kept
    out.
    """
    described = scenes.stack([image.descriptor for image in new])
    surfaces.descriptors = np.concatenate([surfaces.descriptors, described])
    places = []
    for image, matches in zip(new, scenes.alike(described, surfaces.descriptors), strict=True):
        seen = matches[matches < len(surfaces.names)].tolist()
        one = _place(project, surfaces, image, seen, given.get(image.name))
        surfaces.names.append(image.name)
        surfaces.scenes.append(one.scene)
        places.append(one)
    return places


def _place(project: Project, surfaces: Surfaces, image: NewImage, seen: list[int], wanted: str | None) -> Place:
    if not seen:
        split = wanted or drawn_split(image.original.sha256)
        return Place(Scene(project=project, split=split), split, kept_out="")
    split = wanted or surfaces.scenes[seen[0]].split
    # The image joins a scene of its own split where there is one, even if it has to be kept out for another.
    scene = next(
        (surfaces.scenes[row] for row in seen if surfaces.scenes[row].split == split), surfaces.scenes[seen[0]]
    )
    other = next((row for row in seen if surfaces.scenes[row].split != split), None)
    return Place(scene, split, "" if other is None else _reason(surfaces, other, split))


def drawn_split(sha256: str) -> str:
    """The split of a scene that nothing else decides about: the same for the same first image, in any order."""
    draw = int(sha256[:8], 16) / 2**32
    if draw < TRAIN_SHARE:
        return Split.TRAIN
    return Split.VAL if draw < TRAIN_SHARE + VAL_SHARE else Split.TEST


def _reason(surfaces: Surfaces, other: int, split: str) -> str:
    there = Split(surfaces.scenes[other].split).label
    return f"Meant for {Split(split).label}, but shows the same surface as {surfaces.names[other][:200]} of {there}."
