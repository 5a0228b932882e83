import pytest
from django.core.management import CommandError, call_command

from catalog.models import Image, Project


@pytest.mark.django_db
def test_the_command_makes_the_project_imports_and_says_what_it_did(source, capsys):
    (source / "images/0001.png").write_bytes(b"no picture")

    call_command("import_images", "strip", str(source), "--benchmark")

    said = capsys.readouterr()
    assert "strip: 23 imported, 0 already there, 1 refused" in said.out
    assert "refused images/0001.png: not an image" in said.err
    assert Project.objects.get().benchmark


@pytest.mark.django_db
def test_run_again_it_makes_nothing_twice(source, capsys):
    for _ in range(2):
        call_command("import_images", "strip", str(source))

    assert "0 imported, 24 already there" in capsys.readouterr().out
    assert (Project.objects.count(), Image.objects.count()) == (1, 24)


@pytest.mark.django_db
def test_classes_are_named_on_the_command_line_where_the_source_has_none(source):
    (source / "classes.json").unlink()

    call_command("import_images", "strip", str(source), "--classes", "one, two,three")

    assert Project.objects.get().class_names() == ["one", "two", "three"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["strip", "/nowhere"], "does not exist"),
        (["strip", "SOURCE", "--benchmark"], "is no benchmark"),
        (["strip", "SOURCE", "--classes", "other"], "Leave --classes out"),
        (["strip", "SOURCE", "--split", "/nowhere.json"], "Expected a split file"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(project, source, arguments, complaint):
    project.classes.create(index=1, name="scratch")

    with pytest.raises(CommandError, match=complaint):
        call_command("import_images", *[str(source) if one == "SOURCE" else one for one in arguments])


@pytest.mark.django_db
def test_an_import_that_fails_ends_the_command_with_its_reason(tmp_path):
    with pytest.raises(CommandError, match="no pictures in it"):
        call_command("import_images", "strip", str(tmp_path))


@pytest.mark.django_db
def test_a_format_is_named_where_a_folder_looks_like_two(source, capsys):
    (source / "labels").mkdir()
    (source / "labels/0001.txt").touch()
    with pytest.raises(CommandError, match="looks like several formats"):
        call_command("import_images", "strip", str(source))

    call_command("import_images", "strip", str(source), "--format", "canonical")

    assert "24 imported" in capsys.readouterr().out
