import json

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count
from PIL import Image as Picture

from catalog import describing
from catalog.labels import store_label
from catalog.locks import Work, only
from catalog.models import Image, Label, ReferenceMask, Scene, Statistics
from catalog.tasks import describe
from ml.folder import look_into
from ml.statistics import report
from rounds.tasks import sweep

STATISTICS = "catalog.tasks.describe"


@pytest.fixture
def twin_in_training(source):
    """The source with a test image a second time, turned, in training, with another mask; (test, training)."""
    given = json.loads((source / "splits.json").read_text())
    name = next(
        name for name in given["test"] if Picture.open(source / name.replace("images", "masks")).getextrema()[1]
    )
    for folder in ("images", "masks"):
        turned = np.rot90(np.asarray(Picture.open(source / folder / name.removeprefix("images/"))))
        if folder == "masks":
            turned = turned.copy()
            turned[:3] = 1
        Picture.fromarray(np.ascontiguousarray(turned)).save(source / folder / "twin.png")
    given["train"].append("images/twin.png")
    (source / "splits.json").write_text(json.dumps(given))
    return name, "images/twin.png"


def figures_of(project):
    found = describing.describe(project.pk)
    assert found is not None
    return found.figures


def test_an_import_rings_for_the_statistics(project, source, bring_in, rung):
    bring_in(project, source)

    assert (STATISTICS, project.pk) in rung


def test_the_figures_are_those_of_the_command(benchmark, source, bring_in):
    bring_in(benchmark, source)

    figures = figures_of(benchmark)

    told = report(look_into(source), {})
    assert (figures["images"], figures["masks"]) == (24, 24)
    assert f"{100 * figures['clean'] / 24:.1f} % of the masks show no defect" in told
    for name, one in zip(benchmark.class_names(), figures["classes"], strict=True):
        row = next(line for line in told.splitlines() if line.startswith(f"{name} ")).split()
        assert row[1:5] == [str(one["images"]), f"{100 * one['share']:.3f}", str(one["objects"]), row[4]]
        assert sum(one["histogram"]) == one["objects"]
    assert [figures["splits"][split]["images"] for split in ("train", "val", "test")] == [
        Image.objects.filter(split=split).count() for split in ("train", "val", "test")
    ]
    # Few images: every class is rare, in the command's words.
    assert set(figures["warnings"]) == {line[6:] for line in told.splitlines() if line.startswith("NOTE: class")}


def test_the_same_rows_are_described_once(project, source, bring_in):
    bring_in(project, source)

    first, again = describing.describe(project.pk), describing.describe(project.pk)

    assert first == again
    assert Statistics.objects.count() == 1
    assert not describing.is_outdated(project)


def test_one_worker_at_a_time_describes_a_project(project, source, bring_in):
    bring_in(project, source)

    with only(Work.DESCRIBE, project.pk) as mine:
        assert mine
        # Locks belong to a session: the same one may take it twice, so another has to ask.
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (Work.DESCRIBE, project.pk))
            assert cursor.fetchone() == (False,)
        other.close()


def test_a_new_label_makes_statistics_old_and_the_sweep_rings_after_a_rest(project, source, bring_in, rung):
    bring_in(project, source)
    describe(project.pk)
    rung.clear()
    image = Image.objects.filter(project=project).earliest("pk")
    person = User.objects.create_user("ann")
    store_label(
        image, np.zeros((64, 64), np.uint8), annotator=person, scripted=False, seconds=1, origins={}, external_key="x"
    )

    assert describing.is_outdated(project)
    sweep()
    assert (STATISTICS, project.pk) not in rung

    Statistics.objects.update(computed_at="2020-01-01T00:00Z")
    sweep()
    assert (STATISTICS, project.pk) in rung


def test_a_clean_split_says_that_a_look_up_has_nothing_to_copy(benchmark, source, bring_in):
    bring_in(benchmark, source)

    leaks = figures_of(benchmark)["leaks"]

    assert [(one["split"], one["given"], one["shared"]) for one in leaks] == [("test", False, 0), ("val", False, 0)]
    assert all(one["miou_foreground"] == 0 for one in leaks)


def test_a_split_that_leaked_as_given_is_told_with_the_score_of_a_look_up(
    benchmark, source, bring_in, twin_in_training
):
    bring_in(benchmark, source)

    leaks = {(one["split"], one["given"]): one for one in figures_of(benchmark)["leaks"]}

    assert leaks["test", False]["shared"] == 0
    given = leaks["test", True]
    shared = Image.objects.get(name=twin_in_training[0]).scene.images.filter(split="test").count()
    assert given["shared"] == shared
    assert given["miou_foreground"] > leaks["test", False]["miou_foreground"]
    assert given["sentence"].startswith(f"test LEAKS: {shared} of its {given['of']} images")


def test_two_drawings_of_a_surface_give_the_ceiling(benchmark, source, bring_in, twin_in_training):
    bring_in(benchmark, source)

    ceiling = figures_of(benchmark)["agreement"]

    assert ceiling["views"] == 1
    assert 0.2 < ceiling["miou"] < 1


def test_second_opinions_give_the_ceiling_too(project, source, bring_in):
    bring_in(project, source)
    alone = Scene.objects.annotate(images_in_it=Count("images")).filter(images_in_it=1).earliest("pk")
    image = alone.images.get()
    assert figures_of(project)["agreement"] is None
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 1

    for name, rows in (("ann", 32), ("bob", 16)):
        mask[rows:] = 0
        person = User.objects.create_user(name)
        store_label(image, mask, annotator=person, scripted=False, seconds=1, origins={}, external_key=name)

    assert figures_of(project)["agreement"]["views"] == 1


def test_masks_older_than_their_column_are_looked_into(project, benchmark, source, bring_in):
    for one in (project, benchmark):
        bring_in(one, source)
    before = [
        list(rows.order_by("pk").values_list("classes", flat=True)) for rows in (Label.objects, ReferenceMask.objects)
    ]
    Label.objects.update(classes=None)
    ReferenceMask.objects.update(classes=None)

    for one in (project, benchmark):
        describing.describe(one.pk)

    after = [
        list(rows.order_by("pk").values_list("classes", flat=True)) for rows in (Label.objects, ReferenceMask.objects)
    ]
    assert after == before
    assert [] in before[0]
    assert any(len(classes) > 1 for classes in before[0])


def test_images_without_masks_are_described_too(project, pictures, picture, bring_in):
    bring_in(project, pictures({"a.png": picture(1), "b.png": picture(2)}))

    figures = figures_of(project)

    assert (figures["images"], figures["masks"], figures["leaks"], figures["gallery"]) == (2, 0, [], [])


def test_an_empty_project_needs_no_statistics(project, rung):
    sweep()

    assert rung == []
