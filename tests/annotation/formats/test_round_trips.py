"""Written and read again: every format keeps the masks, and says what it cannot keep."""

import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from annotation.formats import WRITERS, BadSource, Drawn, Provenance, detect, write_whole, writer
from annotation.masks import IGNORE, named

NAMES = sorted(WRITERS)
KEEP_PROVENANCE = {"canonical", "palette", "coco", "label-studio", "datumaro"}
KEEP_COLOURS = {"canonical", "palette", "voc", "label-studio"}
KEEP_IGNORE = {"canonical", "palette", "voc"}
UNKNOWN = Provenance()

small = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


@pytest.mark.parametrize("name", NAMES)
def test_masks_come_back_pixel_for_pixel_and_unseen_images_stay_unseen(written, read, masks, name):
    folder, lost = written(name)

    found = read(folder)

    assert (found["a.png"] == masks["a.png"]).all()
    assert not found["b.png"].any()
    assert found["ü.png"] is None
    assert [sentence for sentence in lost if "note where" not in sentence] == []


@pytest.mark.parametrize("name", NAMES)
def test_classes_come_back_in_their_order(written, name):
    classes = detect(written(name)[0]).classes

    assert [one.name for one in classes] == ["scratch", 'dent "deep"', "Riß"]
    assert ([one.colour for one in classes] == ["#102030", "#aabbcc", "#00ff00"]) == (name in KEEP_COLOURS)


@pytest.mark.parametrize("name", NAMES)
def test_splits_come_back(written, name):
    found = detect(written(name)[0]).splits

    splits = {image.rpartition("/")[2]: split for image, split in found.items()}
    assert (splits["a.png"], splits["b.png"]) == ("train", "val")


@pytest.mark.parametrize("name", NAMES)
def test_where_a_mask_comes_from_travels_or_its_loss_is_told(written, name):
    folder, lost = written(name)

    notes = {one.name.rpartition("/")[2]: one.provenance for one in detect(folder).images}

    expected = Provenance(kind="label", by="anna", origins={"manual": 3})
    assert notes["a.png"] == (expected if name in KEEP_PROVENANCE else UNKNOWN)
    assert any("2 images lose the note" in sentence for sentence in lost) == (name not in KEEP_PROVENANCE)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_to_be_ignored_stay_so_or_their_loss_is_told(written, read, drawn, name):
    mask = drawn[0].mask.copy()
    mask[0, :7] = IGNORE

    folder, lost = written(name, [replace(drawn[0], mask=mask)])

    assert (read(folder)["a.png"][0, :7] == (IGNORE if name in KEEP_IGNORE else 0)).all()
    assert any("7 pixels that were to be ignored" in sentence for sentence in lost) == (name not in KEEP_IGNORE)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "yolo"])
@settings(max_examples=6, deadline=None)
@given(mask=small)
def test_any_mask_comes_back(name, mask):
    assert (_there_and_back(mask, name)[0] == mask).all()


@settings(max_examples=25, deadline=None)
@given(mask=small)
def test_yolo_fills_holes_and_says_so_and_changes_nothing_else(mask):
    found, lost = _there_and_back(mask, "yolo")

    changed = found != mask
    assert bool(lost) == changed.any()
    assert not mask[changed].any()


def _there_and_back(mask, name):
    size = mask.shape[::-1]
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "a.png")
        Image.new("L", size).save(image)
        drawn = [Drawn(PurePosixPath("a.png"), image, size, mask)]
        lost = write_whole(Path(scratch, "there"), writer(name), named(["a", "b", "c"]), drawn)
        (one,) = detect(Path(scratch, "there")).images
        return one.mask(3, size), lost


@pytest.mark.parametrize("name", NAMES)
def test_a_writer_that_fails_leaves_nothing_behind(tmp_path, drawn, name):
    def breaks():
        yield drawn[0]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "out" / "there", writer(name), named(["a", "b", "c"]), breaks())

    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_two_images_whose_masks_would_share_a_file_are_refused(written, drawn, name):
    other = replace(drawn[0], path=PurePosixPath("a.jpg"))
    if name in {"coco", "label-studio", "datumaro"}:
        other = drawn[0]  # these know images by their full names

    with pytest.raises(BadSource, match="Rename one"):
        written(name, [drawn[0], other])


def test_a_target_that_is_there_is_left_alone(tmp_path, written):
    (tmp_path / "coco").mkdir()

    with pytest.raises(BadSource, match="is there already"):
        written("coco")


@pytest.mark.parametrize("path", ["../out.png", "/out.png"])
def test_an_image_that_would_be_written_outside_is_refused(written, drawn, path):
    with pytest.raises(BadSource, match="leads out"):
        written("coco", [replace(drawn[0], path=PurePosixPath(path))])


def test_classes_that_share_a_colour_get_colours_of_their_own_in_voc(tmp_path, drawn, masks, read):
    folder = tmp_path / "voc"

    write_whole(folder, writer("voc"), named([f"c{i}" for i in range(30)]), drawn)

    assert len({one.colour for one in detect(folder).classes}) == 30
    assert (read(folder)["a.png"] == masks["a.png"]).all()


def test_a_class_that_a_labelmap_cannot_hold_is_refused(tmp_path, drawn):
    with pytest.raises(BadSource, match="holds a colon"):
        write_whole(tmp_path / "voc", writer("voc"), named(["a:b", "c", "d"]), drawn)


def test_without_classes_nothing_is_written(tmp_path, drawn):
    with pytest.raises(BadSource, match="Nothing names the classes"):
        write_whole(tmp_path / "out", writer("canonical"), (), drawn)
