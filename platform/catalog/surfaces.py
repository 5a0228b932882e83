"""What the images of a project show: new ones are compared with all of them, older ones are described later."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np
from django.db import transaction
from django.db.models import F
from numpy.typing import NDArray
from PIL import Image as Picture

from catalog import files
from catalog.intake import NewImage
from catalog.locks import Work, only
from catalog.models import Image, Landmarks, Project, Scene, SharedSurface
from ml import landmarks, meetings, scenes
from ml.meetings import Meeting

LOADED = 2000  # rows at a time
DESCRIBED = 200  # older images a transaction
KEPT = 64  # surfaces in memory while images are compared pixel by pixel; up to 256 kB each

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Piece:
    """A scene (perhaps not yet saved), the rows of its images, and rows of other splits that show the same surface."""

    scene: Scene
    rows: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)


class Surfaces:
    """What images show, each by its row, in the order in which they became known: some six kilobytes an image."""

    def __init__(self) -> None:
        self.landmarks = meetings.Index()
        self.names: list[str] = []
        self.pieces: list[Piece] = []
        self.held: Counter[str] = Counter()  # images by the split of their scene
        self._descriptors: scenes.Floats = np.zeros((0, scenes.KEPT, scenes.KEPT), np.float32)
        self._views: list[str] = []
        self._merged: list[tuple[Scene, Scene]] = []
        self._surface = lru_cache(maxsize=KEPT)(lambda row: landmarks.evenly_lit(_grey(self._views[row])))

    def look(self, descriptors: Sequence[bytes], views: Sequence[str]) -> Iterator[NDArray[np.intp]]:
        """For each of these new images in turn, earlier rows whose images are whole copies; the new have the next."""
        since = len(self._descriptors)
        self._descriptors = np.concatenate([self._descriptors, scenes.stack(descriptors)])
        self._views += views
        return scenes.alike(self._descriptors, since=since)

    def put(self, name: str, piece: Piece) -> None:
        """Give the next of the images that `look` saw to a piece."""
        piece.rows.append(len(self.names))
        self.names.append(name)
        self.pieces.append(piece)
        self.held[piece.scene.split] += 1

    def overlap(self, met: Meeting) -> bool:
        """Whether the two images show the same surface, pixel by pixel."""
        shared = meetings.shared(self._surface(met.earlier), self._surface(met.later), met)
        return shared >= meetings.RELATED

    def join(self, pieces: Sequence[Piece]) -> Piece:
        """Pieces of one split, made one: the earliest takes in the others."""
        kept = min(pieces, key=lambda one: one.rows[0])
        for gone in pieces:
            if gone is kept:
                continue
            kept.rows += gone.rows
            kept.foreign += gone.foreign
            for row in gone.rows:
                self.pieces[row] = kept
            if gone.scene.pk is not None:
                self._merged.append((kept.scene, gone.scene))
        return kept

    def save_joined(self) -> None:
        """Let the rows follow what was joined. To be called inside a transaction."""
        for kept, gone in self._merged:
            gone.images.update(scene=kept)
            gone.delete()
        self._merged.clear()


def surfaces_of(project: Project) -> Surfaces:
    """What the project's images show. Images that nobody has described yet share no landmark with anything."""
    surfaces = _described(project)
    surfaces.landmarks.add([b""] * (len(surfaces.pieces) - len(surfaces.landmarks)))
    return surfaces


def look_at(surfaces: Surfaces, new: Sequence[NewImage]) -> Iterator[list[int]]:
    """For each new image in turn, rows that show its surface: of whole copies all, of every other piece one.

    Each has to be put before the next is asked for.
    """
    first = len(surfaces.pieces)
    copies = surfaces.look([image.descriptor for image in new], [image.view.path for image in new])
    met: list[list[Meeting]] = [[] for _ in new]
    for one in surfaces.landmarks.meet([image.landmarks for image in new]):
        met[one.later - first].append(one)
    for matches, together in zip(copies, met, strict=True):
        seen = matches.tolist()
        pieces = {surfaces.pieces[other] for other in seen}
        for one in together:
            piece = surfaces.pieces[one.earlier]
            if piece not in pieces and surfaces.overlap(one):
                pieces.add(piece)
                seen.append(one.earlier)
        yield sorted(seen)


def describe_older(project: Project) -> bool:
    """Describe the images that are older than landmarks, and bring together what shares them.

    Scenes of one split become one. Where images of two splits show the same surface nothing moves, for models have been
    trained and judged on them: a SharedSurface is noted, and the statistics count it as a leak.

    Returns:
        Whether it is done; an import that has the project has to end first.
    """
    if not Image.objects.filter(project=project, landmarks=None).exists():
        return True
    with only(Work.IMPORT, project.pk) as mine:
        if not mine:
            return False
        surfaces = _described(project)
        older = Image.objects.filter(project=project, landmarks=None).order_by("pk")
        rows = list(older.values_list("pk", "view"))
        for start in range(0, len(rows), DESCRIBED):
            _describe(project, surfaces, rows[start : start + DESCRIBED])
    return True


def _described(project: Project) -> Surfaces:
    """Of all images, the landmarks of those that have them; the others have the last rows, in the order they came."""
    surfaces = Surfaces()
    pieces = {scene.pk: Piece(scene) for scene in Scene.objects.filter(project=project)}
    shared = list(SharedSurface.objects.leaking().filter(one__project=project).values_list("one", "other"))
    row_of = dict.fromkeys({pk for pair in shared for pk in pair}, 0)
    images = Image.objects.filter(project=project).order_by(F("landmarks__pk").asc(nulls_last=True), "pk")
    fields = images.values_list("pk", "name", "view", "scene", "descriptor", "landmarks__described")
    rows = fields.iterator(chunk_size=LOADED)
    while some := list(islice(rows, LOADED)):
        surfaces.look([bytes(row[4]) for row in some], [row[2] for row in some])
        surfaces.landmarks.add([bytes(row[5]) for row in some if row[5] is not None])
        for pk, name, _, scene, *_ in some:
            if pk in row_of:
                row_of[pk] = len(surfaces.names)
            surfaces.put(name, pieces[scene])
    for one, other in shared:
        _foreign(surfaces, row_of[one], row_of[other])
    return surfaces


def _describe(project: Project, surfaces: Surfaces, older: Sequence[tuple[int, str]]) -> None:
    """Landmarks of these images (pk, view), and what they bring together, in one transaction."""
    found = [_landmarks_of(pk, view) for pk, view in older]
    met = surfaces.landmarks.meet([bytes(one.described) if one else b"" for one in found])
    shared = list(_brought_together(project, surfaces, met))
    with transaction.atomic():
        Landmarks.objects.bulk_create(one for one in found if one)
        SharedSurface.objects.bulk_create(shared, ignore_conflicts=True)
        surfaces.save_joined()


def _brought_together(project: Project, surfaces: Surfaces, found: Sequence[Meeting]) -> Iterator[SharedSurface]:
    for met in found:
        one, other = surfaces.pieces[met.earlier], surfaces.pieces[met.later]
        if one is other or any(surfaces.pieces[row] is other for row in one.foreign) or not surfaces.overlap(met):
            continue
        if one.scene.split == other.scene.split:
            surfaces.join([one, other])
            continue
        images = [Image.objects.get(project=project, name=surfaces.names[row]) for row in (met.earlier, met.later)]
        # What is kept out takes part in nothing: through it nothing leaks.
        if not any(image.kept_out for image in images):
            _foreign(surfaces, met.earlier, met.later)
            yield SharedSurface(one=images[0], other=images[1])


def _foreign(surfaces: Surfaces, one: int, other: int) -> None:
    surfaces.pieces[one].foreign.append(other)
    surfaces.pieces[other].foreign.append(one)


def _landmarks_of(pk: int, view: str) -> Landmarks | None:
    try:
        return Landmarks(image_id=pk, described=landmarks.describe(_grey(view)))
    except OSError as problem:
        # Its statistics do not need it; check_integrity reports the file, and the next time it is tried again.
        log.warning("image %s has no landmarks: its view cannot be read (%s)", pk, problem)
        return None


def _grey(view: str) -> NDArray[np.uint8]:
    with Picture.open(files.absolute(view)) as picture:
        return np.asarray(picture.convert("L"))
