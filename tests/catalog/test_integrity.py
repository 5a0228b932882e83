import os
import time
from pathlib import Path

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


def test_mending_removes_left_overs_and_nothing_else(imported, capsys):
    old = time.time() - 2 * integrity.SETTLED
    for path in Path(files.absolute("views")).parent.rglob("*"):
        os.utime(path, (old, old))
    for name, age in (("views/1/ab/.half.tmp", old), ("labels/1/abandoned.png", old), ("labels/1/fresh.png", None)):
        files.write_once(name, name.encode())
        if age:
            os.utime(files.absolute(name), (age, age))

    call_command("check_integrity", "--mend")

    told = capsys.readouterr().out
    assert "Removed views/1/ab/.half.tmp\nRemoved labels/1/abandoned.png\n" in told
    assert files.absolute("labels/1/fresh.png").exists()
    assert not list(integrity.faults())


def test_a_left_over_that_somebody_finds_a_use_for_is_no_longer_one(imported):
    """An import that was killed is started again: its files are there already, their rows come a moment later."""
    name, old = f"views/{imported.pk}/ab/again.png", time.time() - 2 * integrity.SETTLED
    files.write_once(name, b"content")
    os.utime(files.absolute(name), (old, old))
    assert list(integrity.left_overs()) == [name]

    files.write_once(name, b"content")

    assert not list(integrity.left_overs())
    assert not files.remove_unused(name, time.time() - integrity.SETTLED)
    assert files.absolute(name).read_bytes() == b"content"


def test_an_image_whose_split_is_not_its_scenes_is_found(imported):
    Scene.objects.filter(pk=Image.objects.filter(split="test").first().scene_id).update(split="train")

    assert all("A split cuts a scene" in fault for fault in integrity.faults())
    assert list(integrity.faults())


def test_the_command_lists_the_faults_and_fails(imported, capsys):
    files.absolute(Image.objects.first().original).unlink()

    with pytest.raises(CommandError, match="1 faults"):
        call_command("check_integrity")
    assert "is missing" in capsys.readouterr().err
