import os

import pytest
from django.utils import timezone

from catalog import files, health
from catalog.importing import create_import
from catalog.models import Image, Import
from config.doctor import Mark


@pytest.fixture
def imported(project, source, bring_in):
    bring_in(project, source)
    return project


def test_an_installation_whose_files_are_all_there_is_fine(imported):
    assert [one.mark for one in health.files()] == [Mark.FINE]


def test_missing_files_are_told_the_first_of_them_by_name(imported):
    for image in Image.objects.all()[: health.SHOWN + 2]:
        files.absolute(image.view).unlink()

    found = list(health.files())

    assert {one.mark for one in found} == {Mark.BROKEN}
    assert "is missing. Restore it from a backup." in found[0].says
    assert found[-1].says == "2 more like these."


def test_a_file_of_no_row_breaks_nothing(imported):
    files.write_once(f"views/{imported.pk}/ab/abandoned.png", b"left behind")
    os.utime(files.absolute(f"views/{imported.pk}/ab/abandoned.png"), (0, 0))

    [found] = health.files()

    assert found.mark is Mark.DOUBTFUL
    assert "check_integrity --mend removes it" in found.says


def test_an_import_that_nobody_goes_on_with_is_told(project, source):
    create_import(project, source)
    assert not list(health.imports())

    Import.objects.update(created_at=timezone.now() - timezone.timedelta(hours=1))

    [found] = health.imports()
    assert (found.mark, found.says) == (Mark.BROKEN, f"import {Import.objects.get().pk} into strip stands still.")
