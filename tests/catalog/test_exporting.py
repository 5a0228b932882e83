"""Labels out, and in again."""

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from annotation.formats import WRITERS, Provenance, detect
from catalog.exporting import export_labels
from catalog.labels import store_label, withdraw
from catalog.models import Image, Label, Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def labelled(project, source, bring_in):
    """A project of 24 images with imported labels."""
    bring_in(project, source)
    return project


def _answer(image, value, key, **options):
    mask = np.full((image.height, image.width), value, np.uint8)
    options = {"annotator": None, "scripted": False, "seconds": None, "origins": {"manual": 1}} | options
    return store_label(image, mask, external_key=key, **options)


@pytest.mark.parametrize("name", sorted({*WRITERS} - {"yolo"}))  # it fills holes
def test_what_is_exported_is_imported_again_as_the_same_labels(labelled, bring_in, tmp_path, name):
    export_labels(labelled, tmp_path / "out", write_as=name)

    again = bring_in(Project.objects.create(name="again"), tmp_path / "out")

    assert (again.status, again.imported, again.refused.count()) == ("done", 24, 0)
    assert again.project.class_names() == labelled.class_names()
    first, second = (
        sorted(Label.objects.filter(image__project=one).values_list("image__sha256", "sha256"))
        for one in (labelled, again.project)
    )
    assert first == second


def test_the_label_that_counts_goes_out_with_who_drew_it(labelled, tmp_path):
    one, other, third = Image.objects.filter(project=labelled)[:3]
    _answer(one, 1, "k1", annotator=User.objects.create_user("anna"))
    _answer(other, 2, "k2", scripted=True)
    withdraw(third, annotator=None, scripted=False, external_key="k3")

    export_labels(labelled, tmp_path / "out", write_as="canonical")

    out = {image.name: image for image in detect(tmp_path / "out").images}
    assert (out[one.name].mask(3, (64, 64)) == 1).all()
    assert (out[one.name].provenance.by, out[one.name].provenance.origins) == ("anna", {"manual": 1})
    assert not (out[other.name].mask(3, (64, 64)) == 2).all()
    assert third.name not in out


def test_images_without_a_mask_go_out_where_they_are_asked_for(labelled, tmp_path):
    withdraw(Image.objects.filter(project=labelled)[0], annotator=None, scripted=False, external_key="k")

    export_labels(labelled, tmp_path / "out", write_as="coco", everything=True)

    images = detect(tmp_path / "out").images
    assert (len(images), sum(one.mask is None for one in images)) == (24, 1)


@pytest.mark.parametrize("name", ["canonical", "coco", "datumaro", "label-studio"])
def test_where_images_and_masks_came_from_survives_import_and_export(labelled, bring_in, tmp_path, name):
    one = Image.objects.filter(project=labelled).earliest("name")
    _answer(one, 1, "k1", annotator=User.objects.create_user("anna"))
    export_labels(labelled, tmp_path / "out", write_as=name)
    middle = bring_in(Project.objects.create(name="middle"), tmp_path / "out").project

    export_labels(middle, tmp_path / "out again", write_as="canonical")

    there = Image.objects.get(project=middle, sha256=one.sha256)
    assert there.provenance == {"format": "canonical", "file": one.name, "split": one.split}
    label = there.labels.get()
    assert (label.annotator, label.provenance["by"], label.origins) == (None, "anna", {"manual": 1})
    out = {image.provenance.file: image.provenance for image in detect(tmp_path / "out again").images}
    assert out[one.name] == Provenance("label", "anna", {"manual": 1}, "canonical", one.name, one.split)


def test_given_truth_goes_out_as_such(benchmark, source, bring_in, tmp_path):
    bring_in(benchmark, source)

    export_labels(benchmark, tmp_path / "out", write_as="canonical")

    assert {one.provenance.kind for one in detect(tmp_path / "out").images} == {"reference"}


def test_the_command_says_what_was_lost(labelled, tmp_path, capsys):
    call_command("export_labels", "strip", str(tmp_path / "out"), "--format", "voc")

    said = capsys.readouterr()
    assert "24 images lose the note where their mask came from" in said.err
    assert f"written to {tmp_path / 'out'} as voc" in said.out


def test_a_project_without_labels_and_a_folder_that_is_there_are_refused(project, labelled, tmp_path):
    Project.objects.create(name="empty").classes.create(index=1, name="scratch")
    for arguments, complaint in [
        (["empty", str(tmp_path / "out")], "no labels yet"),
        (["nowhere", str(tmp_path / "out")], "no project nowhere"),
        (["strip", str(tmp_path)], "is there already"),
    ]:
        with pytest.raises(CommandError, match=complaint):
            call_command("export_labels", *arguments)
