"""What each arrangement of files is taken for. Pictures are empty files here: nothing of this opens one."""

import json
import time

import pytest

from annotation.formats import READERS, BadSource, ClassInfo, detect, read_as, writer
from annotation.masks import COLOURS


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _names(dataset):
    return [(one.name, one.mask_name or None) for one in dataset.images]


def test_a_canonical_folder_pairs_images_with_masks_and_knows_classes_and_splits(tmp_path):
    _touch(tmp_path, "images/b.jpg", "images/line 1/a.png", "masks/line 1/a.png", "images/notes.txt")
    (tmp_path / "classes.json").write_text('[{"name": "scratch", "colour": "#010203"}, "pit"]')
    (tmp_path / "splits.json").write_text('{"train": ["images/b.jpg"], "test": ["images/line 1/a.png"]}')

    dataset = detect(tmp_path)

    assert dataset.format == "canonical"
    assert _names(dataset) == [("images/b.jpg", None), ("images/line 1/a.png", "masks/line 1/a.png")]
    assert dataset.classes == (ClassInfo("scratch", "#010203"), ClassInfo("pit", COLOURS[1]))
    assert dataset.splits == {"images/b.jpg": "train", "images/line 1/a.png": "test"}


def test_images_and_masks_without_classes_leave_the_naming_to_the_caller(tmp_path):
    _touch(tmp_path, "images/a.png", "masks/a.PNG")

    dataset = detect(tmp_path)

    assert _names(dataset) == [("images/a.png", "masks/a.PNG")]
    assert dataset.classes == ()


def test_neu_seg_as_published_is_recognised_without_its_leaking_split(tmp_path):
    _touch(tmp_path, "images/training/2.jpg", "annotations/training/2.png", "splits/train.txt")
    _touch(tmp_path, "images/test/1.jpg", "annotations/test/1.png")

    dataset = detect(tmp_path)

    assert [one.name for one in dataset.classes] == ["inclusion", "patches", "scratches"]
    assert _names(dataset) == [
        ("images/test/1.jpg", "annotations/test/1.png"),
        ("images/training/2.jpg", "annotations/training/2.png"),
    ]
    assert dataset.splits == {}


def test_a_known_folder_packed_into_one_folder_has_the_same_names(tmp_path):
    _touch(tmp_path, "download/images/a.png", "download/masks/a.png", "__MACOSX/download/._a.png", ".DS_Store")

    assert _names(detect(tmp_path)) == [("images/a.png", "masks/a.png")]


def test_plain_images_keep_their_folders_in_their_names(tmp_path):
    _touch(tmp_path, "lot 7/b.TIFF", "lot 7/a.bmp", "lot 7/.hidden.png", "lot 7/a.txt")

    dataset = detect(tmp_path)

    assert dataset.format == "plain images"
    assert _names(dataset) == [("lot 7/a.bmp", None), ("lot 7/b.TIFF", None)]


def test_a_folder_without_pictures_is_refused(tmp_path):
    _touch(tmp_path, "readme.txt")

    with pytest.raises(BadSource, match="no pictures in it"):
        detect(tmp_path)


def test_masks_that_fit_no_image_are_told(tmp_path):
    _touch(tmp_path, "images/a.png", "masks/a.png", "masks/b_mask.png")

    strays = detect(tmp_path).strays

    assert [name for name, _ in strays] == ["masks/b_mask.png"]
    assert "no image in images/ has this name" in strays[0][1]


def test_a_folder_that_looks_like_two_formats_is_refused_until_one_is_named(tmp_path):
    _touch(tmp_path, "images/a.png", "masks/a.png", "labels/a.txt")

    with pytest.raises(BadSource, match=r"several formats: canonical \(images/.*yolo \(labels/a.txt\). Say which"):
        detect(tmp_path)

    assert (read_as(tmp_path, "yolo").format, read_as(tmp_path, "canonical").format) == ("YOLO-seg", "canonical")


def test_boxes_beside_masks_count_only_where_they_are_asked_for(tmp_path):
    _touch(tmp_path, "JPEGImages/a.jpg", "SegmentationClass/a.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text("<annotation/>")

    assert detect(tmp_path).format == "VOC"
    assert read_as(tmp_path, "voc-boxes").format == "VOC boxes"


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_folder_of_another_format_than_named_is_refused_with_what_was_expected(tmp_path, name):
    _touch(tmp_path, "lot 7/a.png", "lot 8/b.png")

    with pytest.raises(BadSource, match=f"is not of the format {name}: expected "):
        read_as(tmp_path, name)


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(BadSource, match=r"'tfrecord' is unknown; expected detect, canonical, .*coco"):
        read_as(tmp_path, "tfrecord")
    with pytest.raises(BadSource, match="'mtd' cannot be written; expected one of canonical, "):
        writer("mtd")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "is not JSON"),
        ("\xff", "is not JSON"),
        ("{}", "expected a list"),
        ("[]", "expected a list"),
        ("[7]", "expected a class with a name"),
        ('[{"name": " "}]', "expected a class with a name"),
        ('["pit", "pit"]', "comes twice"),
        ('[{"name": "pit", "colour": "red"}]', "expected a colour"),
    ],
)
def test_classes_of_another_form_are_refused(tmp_path, text, reason):
    _touch(tmp_path, "images/a.png")
    (tmp_path / "classes.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(BadSource, match=f"classes.json.*{reason}"):
        detect(tmp_path)


@pytest.mark.parametrize(
    ("splits", "reason"),
    [
        ([], "expected"),
        ({"train": "images/a.png"}, "expected a list"),
        ({"training": ["images/a.png"]}, "expected"),
        ({"train": ["images/a.png"], "test": ["images/a.png"]}, "stands in train and in test"),
    ],
)
def test_splits_of_another_form_are_refused(tmp_path, splits, reason):
    _touch(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "splits.json").write_text(json.dumps(splits))

    with pytest.raises(BadSource, match=f"splits.json.*{reason}"):
        detect(tmp_path)


def test_ten_thousand_files_are_paired_in_seconds_not_minutes(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for i in range(10_000):
            (tmp_path / folder / f"{i:05}.png").touch()
    started = time.monotonic()

    images = detect(tmp_path).images

    assert time.monotonic() - started < 30
    assert len(images) == 10_000
    assert all(one.mask for one in images)
