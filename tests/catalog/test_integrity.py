import os
import time

import pytest
from django.core.management import CommandError, call_command

from catalog import files, integrity
from catalog.models import Image, Label, Scene


@pytest.fixture
def imported(project, source, bring_in):
    bring_in(project, source)
    return project


def test_after_an_import_every_row_has_its_file_and_every_file_its_row(imported, capsys):
    call_command("check_integrity")

    assert "Every row has its file" in capsys.readouterr().out


def test_a_missing_file_is_found(imported):
    image = Image.objects.first()
    files.absolute(image.view).unlink()

    assert list(integrity.faults()) == [f"Image {image.pk}: {image.view} is missing. Restore it from a backup."]


def test_a_changed_file_is_found_unless_only_its_presence_is_asked_for(imported):
    label = Label.objects.first()
    files.absolute(label.path).write_bytes(b"changed")

    assert any("has changed" in fault for fault in integrity.faults())
    assert not list(integrity.faults(contents=False))


def test_a_file_of_no_row_is_found_once_it_is_too_old_to_be_waiting_for_one(imported):
    files.write_once(f"views/{imported.pk}/ab/abandoned.png", b"left behind")
    assert not list(integrity.faults())

    old = time.time() - 2 * integrity.SETTLED
    os.utime(files.absolute(f"views/{imported.pk}/ab/abandoned.png"), (old, old))

    assert ["belongs to no row" in fault for fault in integrity.faults()] == [True]


def test_an_image_whose_split_is_not_its_scenes_is_found(imported):
    Scene.objects.filter(pk=Image.objects.filter(split="test").first().scene_id).update(split="train")

    assert all("A split cuts a scene" in fault for fault in integrity.faults())
    assert list(integrity.faults())


def test_the_command_lists_the_faults_and_fails(imported, capsys):
    files.absolute(Image.objects.first().original).unlink()

    with pytest.raises(CommandError, match="1 faults"):
        call_command("check_integrity")
    assert "is missing" in capsys.readouterr().err
