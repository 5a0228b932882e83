import hashlib
import json
import shutil
import zipfile
from collections import Counter
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from PIL import Image as Picture

from annotation.formats import BadSource, archive
from catalog import files, importing
from catalog.importing import create_import, run_import, start_import
from catalog.models import DefectClass, Image, Import, Label, Project, ReferenceMask, Scene
from catalog.placement import drawn_split
from catalog.sources import unpacked
from rounds.tasks import sweep


def _refused(one):
    return dict(one.refused.values_list("name", "reason"))


def test_a_canonical_folder_brings_classes_images_views_scenes_and_labels(project, source, bring_in):
    one = bring_in(project, source)

    assert (one.status, one.total, one.imported, one.already_there) == ("done", 24, 24, 0)
    assert project.class_names() == ["scratch", "patch", "inclusion"]
    image = Image.objects.get(project=project, name="images/0005.png")
    assert files.sha256_of(files.absolute(image.original)) == image.sha256
    assert files.sha256_of(files.absolute(image.view)) == image.view_sha256
    assert np.array_equal(Picture.open(files.absolute(image.view)), Picture.open(source / "images/0005.png"))
    label = Label.objects.get(image=image)
    assert (label.annotator, label.external_key) == (None, f"import:{image.pk}")
    assert np.array_equal(Picture.open(files.absolute(label.path)), Picture.open(source / "masks/0005.png"))
    assert label.classes == np.unique(Picture.open(files.absolute(label.path))).tolist()[1:]
    assert image.provenance == {"format": "canonical", "file": "images/0005.png", "split": image.split}
    assert label.provenance == {"file": "masks/0005.png"}
    assert one.finished_at is not None


def test_in_a_benchmark_the_masks_are_given_truth_and_no_labels(benchmark, source, bring_in):
    bring_in(benchmark, source)

    assert ReferenceMask.objects.count() == 24
    assert not Label.objects.exists()


def test_the_splits_of_the_folder_are_kept_and_no_scene_is_cut(project, source, bring_in):
    bring_in(project, source)

    given = json.loads((source / "splits.json").read_text())
    for split, names in given.items():
        assert set(Image.objects.filter(split=split).values_list("name", flat=True)) == set(names)
    assert Scene.objects.count() == 18
    assert not Image.objects.exclude(kept_out="").exists()


def test_importing_again_changes_nothing(project, source, bring_in, data_dir):
    bring_in(project, source)
    before = sorted(data_dir.rglob("*")), list(Image.objects.values()), list(Label.objects.values())

    again = bring_in(project, source)

    assert (again.imported, again.already_there, _refused(again)) == (0, 24, {})
    assert (sorted(data_dir.rglob("*")), list(Image.objects.values()), list(Label.objects.values())) == before


def test_another_picture_of_a_known_name_is_refused(project, source, bring_in, picture):
    bring_in(project, source)
    Picture.fromarray(picture(0)).save(source / "images/0003.png")

    again = bring_in(project, source)

    assert again.already_there == 23
    assert "another picture of this name" in _refused(again)["images/0003.png"]


def test_masks_that_come_later_are_added_and_other_masks_refused(project, source, bring_in):
    later = (source / "masks/0002.png").read_bytes()
    (source / "masks/0002.png").unlink()
    bring_in(project, source)
    (source / "masks/0002.png").write_bytes(later)
    (source / "masks/0004.png").write_bytes((source / "masks/0005.png").read_bytes())

    again = bring_in(project, source)

    assert Label.objects.filter(image__name="images/0002.png").exists()
    assert "another mask before" in _refused(again)["masks/0004.png"]
    assert Label.objects.count() == 24


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_hostile_file_is_refused_once_with_its_reason_and_the_rest_goes_in(project, source, bring_in):
    whole = (source / "images/0001.png").read_bytes()
    (source / "images/0001.png").write_bytes(whole[: len(whole) // 2])
    (source / "images/0002.png").write_bytes(b"not a picture at all")
    Picture.new("1", (10_000, 10_000)).save(source / "images/0003.png")
    Picture.new("L", (32, 32)).save(source / "masks/0004.png")
    Picture.fromarray(np.full((64, 64), 9, np.uint8)).save(source / "masks/0005.png")
    Picture.new("L", (64, 64)).save(source / "masks/nobody.png")

    one = bring_in(project, source)

    expected = {
        "images/0001.png": "damaged or truncated",
        "images/0002.png": "not an image",
        "images/0003.png": "decompression bomb",
        "masks/0004.png": "is 32x32 pixels, its image 64x64",
        "masks/0005.png": "holds 9; expected 0..3 and 255",
        "masks/nobody.png": "no image",
    }
    refused = _refused(one)
    assert refused.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in refused[name]
    assert (one.status, one.imported) == ("done", 19)


def test_what_is_refused_leaves_no_file(project, pictures, picture, bring_in, data_dir):
    root = pictures({"images/a.png": picture(0), "masks/a.png": np.full((64, 64), 7, np.uint8)})
    DefectClass.objects.create(project=project, index=1, name="dent")

    one = bring_in(project, root)

    assert list(_refused(one)) == ["masks/a.png"]
    assert not [path for path in data_dir.rglob("*") if path.is_file()]


def test_a_corrected_file_goes_in_when_the_folder_is_imported_again(project, source, bring_in):
    whole = (source / "images/0001.png").read_bytes()
    (source / "images/0001.png").write_bytes(whole[:100])
    bring_in(project, source)
    (source / "images/0001.png").write_bytes(whole)

    again = bring_in(project, source)

    assert (again.imported, again.already_there, _refused(again)) == (1, 23, {})


def test_a_zip_is_taken_and_members_that_lead_out_of_it_are_refused(project, source, bring_in, tmp_path, data_dir):
    packed = tmp_path / "line.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(source.rglob("*.*")):
            archive.write(path, f"line/{path.relative_to(source)}")
        archive.write(source / "images/0001.png", "../../escaped.png")

    one = bring_in(project, packed)

    assert one.imported == 24
    assert "out of the folder" in _refused(one)["../../escaped.png"]
    assert not list(tmp_path.rglob("escaped.png"))
    assert not (data_dir / "imports" / str(one.pk)).exists()


def test_neu_seg_as_published_comes_with_its_classes_and_a_split_of_our_own(benchmark, pictures, picture, bring_in):
    images = {f"images/training/{i:06d}.jpg": picture(i) for i in range(6)}
    images |= {"images/test/000900.jpg": np.rot90(picture(0)), "images/test/000901.jpg": picture(7)}
    masks = {n.replace("images", "annotations").replace("jpg", "png"): a * 0 + 2 for n, a in images.items()}

    one = bring_in(benchmark, pictures(images | masks))

    assert "published division of NEU-Seg is not used" in one.warnings[0]
    assert benchmark.class_names() == ["inclusion", "patches", "scratches"]
    assert ReferenceMask.objects.count() == 8
    twins = Image.objects.filter(name__in=["images/training/000000.jpg", "images/test/000900.jpg"])
    assert len(set(twins.values_list("scene", "split"))) == 1
    assert not Image.objects.exclude(kept_out="").exists()


def test_a_given_split_that_cuts_a_scene_keeps_the_training_image_out(
    project, pictures, picture, bring_in, write_splits, tmp_path
):
    root = pictures({"a.png": picture(0), "b.png": np.rot90(picture(0)), "c.png": picture(1)})
    splits = write_splits(
        tmp_path / "split.json", train=["a.png", "c.png"], test=["b.png"], labelled={"1_2": ["a.png"]}
    )

    one = bring_in(project, root, split_file=splits)

    kept_out = dict(Image.objects.values_list("name", "kept_out"))
    assert kept_out["a.png"] == "Meant for training, but shows the same surface as b.png of test."
    assert kept_out["b.png"] == kept_out["c.png"] == ""
    assert any("1 of the project's 3 images are kept out" in warning for warning in one.warnings)
    assert any("labelled is not used" in warning for warning in one.warnings)
    assert any("No image is left for validation" in warning for warning in one.warnings)


def test_a_later_image_joins_the_scene_and_the_split_that_are_there(project, pictures, picture, bring_in):
    first = {f"{i}.png": picture(i) for i in range(12)}
    bring_in(project, pictures(first, "first"))

    bring_in(project, pictures({f"late-{i}.png": np.fliplr(picture(i)) for i in range(12)}, "second"))

    assert Scene.objects.count() == 12
    for i in range(12):
        pair = Image.objects.filter(name__in=[f"{i}.png", f"late-{i}.png"])
        assert len(set(pair.values_list("scene", "split"))) == 1


def test_an_image_in_which_scenes_of_two_splits_meet_is_kept_out(
    project, pictures, picture, bring_in, write_splits, tmp_path
):
    middle, other = picture(0).astype(np.float64), picture(1).astype(np.float64)
    other = 0.15 * (other - other.mean()) * middle.std() / other.std()
    ends = {"a.png": middle + other, "b.png": middle - other}
    splits = write_splits(tmp_path / "split.json", train=["a.png"], test=["b.png"])
    folder = pictures({name: np.clip(end, 0, 255).astype(np.uint8) for name, end in ends.items()}, "first")
    bring_in(project, folder, split_file=splits)

    bring_in(project, pictures({"c.png": picture(0)}, "second"))

    kept_out = dict(Image.objects.values_list("name", "kept_out"))
    assert kept_out == {"a.png": "", "b.png": "", "c.png": kept_out["c.png"]}
    assert "shows the same surface as" in kept_out["c.png"]


@pytest.mark.parametrize(("scenes", "off"), [(14, 0.12), (4000, 0.005)])
@pytest.mark.parametrize("seed", range(5))
def test_scenes_without_a_given_split_are_divided_in_fixed_shares_however_few_there_are(scenes, off, seed):
    held = Counter()
    for number in range(scenes):
        held[drawn_split(hashlib.sha256(f"{seed}, {number}".encode()).hexdigest(), held)] += 1 + number % 6

    shares = [held[split] / held.total() for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=off)


def test_16_bit_images_of_a_project_keep_one_scale_over_imports(project, pictures, picture, bring_in):
    deep = (picture(0).astype(np.uint16) * 16, picture(1).astype(np.uint16))
    bring_in(project, pictures({"a.png": deep[0]}, "first"))

    bring_in(project, pictures({"b.png": deep[1]}, "second"))

    assert set(Image.objects.values_list("source__bits", flat=True)) == {12}
    view = Picture.open(files.absolute(Image.objects.get(name="b.png").view))
    assert np.array_equal(view, picture(1) >> 4)


def test_masks_without_any_class_fail_with_a_sentence(project, pictures, picture, bring_in):
    one = bring_in(project, pictures({"images/a.png": picture(0), "masks/a.png": picture(0) * 0}))

    assert one.status == "failed"
    assert "Add the classes to the project first" in one.error


def test_classes_in_another_order_fail_with_a_sentence(project, source, bring_in):
    DefectClass.objects.create(project=project, index=1, name="patch")

    one = bring_in(project, source)

    assert one.status == "failed"
    assert "same index would mean different defects" in one.error


def test_an_empty_folder_fails_with_a_sentence(project, bring_in, tmp_path):
    (tmp_path / "empty").mkdir()

    one = bring_in(project, tmp_path / "empty")

    assert (one.status, "no pictures in it" in one.error) == ("failed", True)


def test_a_missing_source_or_a_bad_split_file_is_refused_at_once(project, source, tmp_path):
    (tmp_path / "split.json").write_text("{}}")

    with pytest.raises(BadSource, match="does not exist"):
        create_import(project, tmp_path / "nowhere")
    with pytest.raises(BadSource, match="not JSON"):
        create_import(project, source, split_file=tmp_path / "split.json")
    assert not Import.objects.exists()


def test_progress_is_in_the_row_while_the_import_runs(project, source, monkeypatch):
    monkeypatch.setattr("catalog.batches.SIZE", 8)
    monkeypatch.setattr("catalog.batches.CHUNK", 8)
    seen = []
    one = create_import(project, source)

    run_import(one.pk, report=lambda _: seen.append(Import.objects.values_list("status", "total", "imported").get()))

    assert seen[:3] == [("running", 24, 8), ("running", 24, 16), ("running", 24, 24)]


def test_a_cancelled_import_stops_between_batches_and_what_is_in_stays(project, source, monkeypatch):
    monkeypatch.setattr("catalog.batches.SIZE", 8)
    monkeypatch.setattr("catalog.batches.CHUNK", 8)
    one = create_import(project, source)

    run_import(one.pk, report=lambda _: Import.objects.update(status=Import.Status.CANCELLED))

    one.refresh_from_db()
    assert (one.status, one.imported, Image.objects.count()) == ("cancelled", 8, 8)
    assert one.finished_at is not None


def test_an_import_is_cancelled_while_its_zip_is_unpacked_too(project, source, tmp_path, data_dir, monkeypatch):
    monkeypatch.setattr("catalog.importing.BEAT_SECONDS", 0)
    one = create_import(project, shutil.make_archive(str(tmp_path / "line"), "zip", source))
    extract = archive._extract

    def cancelled_meanwhile(*told: Any, **named: Any) -> str:
        Import.objects.update(status=Import.Status.CANCELLED)
        return extract(*told, **named)

    monkeypatch.setattr(archive, "_extract", cancelled_meanwhile)

    run_import(one.pk)

    one.refresh_from_db()
    assert (one.status, one.total, Image.objects.count()) == ("cancelled", 0, 0)
    assert one.finished_at is not None
    assert not unpacked(one).exists()


def test_an_import_that_is_over_does_not_run_again(project, source, bring_in):
    one = bring_in(project, source)
    Image.objects.filter(name="images/0001.png").delete()

    run_import(one.pk)

    assert Image.objects.count() == 23


def test_a_ring_carries_the_id_to_a_worker_that_runs_the_import(
    project, source, django_capture_on_commit_callbacks, rung
):
    with django_capture_on_commit_callbacks(execute=True):
        one = start_import(project, source)

    assert rung == [("catalog.tasks.run_import", one.pk)]


def test_the_sweep_rings_again_for_forgotten_imports_and_no_others(project, source, rung):
    waiting, silent, busy, done = (create_import(project, source) for _ in range(4))
    long_ago = timezone.now() - 2 * importing.SILENCE
    Import.objects.filter(pk=waiting.pk).update(created_at=long_ago)
    Import.objects.filter(pk=silent.pk).update(status="running", heartbeat_at=long_ago)
    Import.objects.filter(pk=busy.pk).update(status="running", heartbeat_at=timezone.now())
    Import.objects.filter(pk=done.pk).update(status="done", heartbeat_at=long_ago)

    sweep()

    assert sorted(rung) == [("catalog.tasks.run_import", pk) for pk in sorted((waiting.pk, silent.pk))]


def test_two_projects_may_hold_images_of_the_same_names(source, bring_in, db):
    for name in ("one", "two"):
        assert bring_in(Project.objects.create(name=name), source).imported == 24
