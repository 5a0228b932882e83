"""The server joins what landmarks find: real copies of generated surfaces, imported from files."""

import logging
from functools import cache

import numpy as np
import pytest
from django.db import connection

from catalog import describing, files, surfaces
from catalog.figures import figures_of
from catalog.locks import Work
from catalog.models import Image, Landmarks, Project, Scene, SharedSurface
from catalog.surfaces import describe_older
from ml import landmarks, synthetic

SIZE = 200

COPIES = {
    "shifted": lambda grey, _: np.roll(grey, (14, -14), (0, 1)),
    "cropped": lambda grey, _: grey[:170, 30:],
    "turned and cropped": lambda grey, _: np.rot90(grey)[20:, :180],
    "mirrored and shifted": lambda grey, _: np.roll(grey[:, ::-1], 20, 1),
    "beside another": lambda grey, other: np.where(np.arange(SIZE) < 185, grey, other),
}


@pytest.fixture(scope="session")
def surface():
    """A surface nobody else shows: (200, 200) uint8."""
    return cache(lambda number: synthetic.photograph(synthetic.Shot(number, 0), size=SIZE, seed=11)[0])


@pytest.fixture
def bring_in_before(bring_in, monkeypatch):
    """Import as it was before there were landmarks."""

    def bring_in_before(project, source, **options):
        with monkeypatch.context() as before:
            before.setattr(landmarks, "describe", lambda _: b"")
            one = bring_in(project, source, **options)
        Landmarks.objects.filter(image__project=project).delete()
        return one

    return bring_in_before


def _scene(name):
    return Image.objects.get(name=name).scene_id


def test_copies_that_arrive_later_join_the_scene_and_its_split(project, pictures, surface, bring_in):
    bring_in(project, pictures({f"{n}.png": surface(n) for n in range(6)}, "first"))
    late = {f"{kind}-{n}.png": alter(surface(n), surface(77)) for kind, alter in COPIES.items() for n in range(6)}

    bring_in(project, pictures(late, "second"))

    joined = {kind: sum(_scene(f"{n}.png") == _scene(f"{kind}-{n}.png") for n in range(6)) for kind in COPIES}
    assert min(joined.values()) >= 4, joined
    for scene in Scene.objects.prefetch_related("images"):
        assert len({image.name[-5] for image in scene.images.all()}) == 1, "unlike surfaces are joined"
        assert {(image.split, image.kept_out) for image in scene.images.all()} == {(scene.split, "")}


def test_copies_that_arrive_together_are_one_scene(project, pictures, surface, bring_in):
    images = {f"{n}-{m}.png": np.roll(surface(n), 12 * m, 0) for n in range(4) for m in range(3)}

    bring_in(project, pictures(images))

    assert Scene.objects.count() == 4
    assert Landmarks.objects.count() == 12


def test_unlike_surfaces_stay_apart(project, pictures, surface, bring_in):
    bring_in(project, pictures({f"{n}.png": surface(n) for n in range(24)}))

    assert Scene.objects.count() == 24


def test_scenes_of_one_split_that_a_later_image_joins_become_one(
    project, pictures, surface, bring_in, write_splits, tmp_path
):
    """Two pieces that overlap by half of their width do not meet; the whole shows both."""
    ends = {"a.png": surface(8)[:, :130], "b.png": surface(8)[:, 70:]}
    splits = write_splits(tmp_path / "split.json", train=["a.png", "b.png"])
    bring_in(project, pictures(ends, "first"), split_file=splits)
    before = Scene.objects.count()

    bring_in(project, pictures({"c.png": surface(8)}, "second"))

    assert (before, Scene.objects.count()) == (2, 1)
    assert set(Image.objects.values_list("split", "kept_out")) == {("train", "")}


def test_an_image_that_shows_scenes_of_two_splits_is_kept_out_and_they_stay(
    project, pictures, surface, bring_in, write_splits, tmp_path
):
    images = {"images/a.png": surface(8)[:, :130], "images/b.png": surface(8)[:, 70:], "images/c.png": surface(8)}
    splits = write_splits(tmp_path / "split.json", train=["images/a.png", "images/c.png"], test=["images/b.png"])
    masks = {name.replace("images", "masks"): np.ones(image.shape, np.uint8) for name, image in images.items()}
    root = pictures({**images, **masks}, "canonical")
    (root / "classes.json").write_text('["scratch"]')

    bring_in(project, root, split_file=splits)

    taking_part = dict(Image.objects.filter(kept_out="").values_list("name", "split"))
    assert taking_part == {"images/a.png": "train", "images/b.png": "test"}
    assert not SharedSurface.objects.leaking().exists()
    leaks = figures_of(project)["leaks"]
    assert [(one["given"], one["shared"]) for one in leaks] == [(False, 0), (True, 1)]


def test_what_joins_is_the_same_in_batches_of_any_size(db, pictures, surface, bring_in, monkeypatch):
    images = {f"{m}-{n}.png": np.roll(surface(n), 12 * m, 0) for n in range(4) for m in range(3)}
    root = pictures(images)
    together = []
    for size, name in ((200, "at once"), (1, "by five")):
        monkeypatch.setattr("catalog.batches.SIZE", size)
        monkeypatch.setattr("catalog.batches.CHUNK", 5 if size == 1 else 16)
        project = Project.objects.create(name=name)
        bring_in(project, root)
        labels = dict(project.images.values_list("name", "scene"))
        together.append({(a, b) for a in labels for b in labels if labels[a] == labels[b]})

    assert together[0] == together[1]


def test_older_images_of_one_split_are_described_and_joined(
    project, pictures, surface, bring_in_before, write_splits, tmp_path, monkeypatch
):
    monkeypatch.setattr(surfaces, "DESCRIBED", 2)
    shifted = np.roll(surface(0), 14, 1)
    names = ["a.png", "b.png", "c.png"]
    splits = write_splits(tmp_path / "split.json", train=names)
    images = dict(zip(names, (surface(0), surface(1), shifted), strict=True))
    bring_in_before(project, pictures(images), split_file=splits)
    assert Scene.objects.count() == 3

    assert describing.describe(project.pk).figures["duplicates"] == {"images": 2, "scenes": 1, "largest": 2}

    assert Landmarks.objects.count() == 3
    assert _scene("a.png") == _scene("c.png") != _scene("b.png")
    assert not describing.is_outdated(project)


@pytest.fixture
def leaking(project, pictures, surface, bring_in_before, write_splits, tmp_path):
    """Older images, of which a test image shows what a training image shows; not yet known."""
    images = {"images/a.png": surface(0), "images/b.png": np.roll(surface(0), 14, 1), "images/c.png": surface(1)}
    splits = write_splits(tmp_path / "split.json", train=["images/a.png", "images/c.png"], test=["images/b.png"])
    masks = {name.replace("images", "masks"): np.ones((SIZE, SIZE), np.uint8) for name in images}
    root = pictures({**images, **masks}, "canonical")
    (root / "classes.json").write_text('["scratch"]')
    bring_in_before(project, root, split_file=splits)
    return project


def test_older_images_of_two_splits_stay_where_they_are_and_are_noted_as_a_leak(leaking):
    before = list(Image.objects.order_by("pk").values())

    figures = describing.describe(leaking.pk).figures

    assert list(Image.objects.order_by("pk").values()) == before
    noted = SharedSurface.objects.select_related("one", "other").get()
    assert {noted.one.name, noted.other.name} == {"images/a.png", "images/b.png"}
    assert figures["leaks"][0]["sentence"].startswith("test LEAKS: 1 of its 1 images (100.0 %) show a surface")
    assert describe_older(leaking)
    assert SharedSurface.objects.count() == 1


def test_a_new_image_of_a_scene_that_leaks_is_kept_out(leaking, pictures, surface, bring_in):
    describing.describe(leaking.pk)

    one = bring_in(leaking, pictures({"late.png": np.rot90(surface(0))}, "second"))

    late = Image.objects.get(name="late.png")
    assert "shows the same surface as" in late.kept_out
    assert any("Scenes of different splits show the same surface, 1 times" in warning for warning in one.warnings)


def test_statistics_wait_for_the_landmarks_while_an_import_has_the_project(leaking):
    importing = connection.copy()  # a session of its own, as a worker has
    with importing.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (Work.IMPORT, leaking.pk))
        assert describing.describe(leaking.pk) is None
        # Closing alone lets go a moment later, when the server comes to see it.
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (Work.IMPORT, leaking.pk))

    importing.close()
    assert describing.describe(leaking.pk) is not None


def test_an_older_image_without_its_view_is_passed_over_with_a_warning(leaking, caplog):
    files.absolute(Image.objects.get(name="images/c.png").view).unlink()

    with caplog.at_level(logging.WARNING):
        assert describe_older(leaking)

    assert set(Landmarks.objects.values_list("image__name", flat=True)) == {"images/a.png", "images/b.png"}
    assert "its view cannot be read" in caplog.text
