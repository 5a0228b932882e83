"""YOLO-seg as others write it."""

import numpy as np
import pytest

from annotation.formats import BadSource, detect
from annotation.masks import MaskError

SIZE = (30, 20)


@pytest.fixture
def yolo(tmp_path, photograph):
    """A folder of one image with these lines."""

    def yolo(*lines, config="names: [scratch, dent]\n", image="images/train/a.jpg", label="labels/train/a.txt"):
        photograph(tmp_path / image, SIZE)
        path = tmp_path / label
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        (tmp_path / "data.yaml").write_text(config)
        return tmp_path

    return yolo


def _mask(folder):
    (one,) = detect(folder).images
    return one.mask(2, SIZE)


def test_an_outline_in_parts_of_the_size_is_filled(yolo):
    mask = _mask(yolo("1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"))

    expected = np.zeros((20, 30), np.uint8)
    expected[2:10, 3:15] = 2
    assert (mask == expected).all()


def test_the_smaller_object_lies_above_whatever_the_order(yolo):
    large, small = "0 0 0 1 0 1 1 0 1", "1 0.4 0.4 0.6 0.4 0.6 0.6 0.4 0.6"

    assert (_mask(yolo(large, small)) == _mask(yolo(small, large))).all()
    assert _mask(yolo(small, large))[10, 15] == 2


def test_a_box_is_a_filled_rectangle_and_a_weak_label(yolo):
    folder = yolo("0 0.5 0.5 0.2 0.4")

    dataset = detect(folder)

    expected = np.zeros((20, 30), np.uint8)
    expected[6:14, 12:18] = 1
    assert (_mask(folder) == expected).all()
    assert dataset.images[0].provenance.kind == "weak"
    assert "1 label files hold boxes" in dataset.notices[0]


def test_an_empty_label_file_says_no_defect_and_a_missing_one_nothing(yolo, photograph):
    folder = yolo("")
    photograph(folder / "images/val/b.jpg", SIZE)

    seen, unseen = detect(folder).images

    assert not seen.mask(2, SIZE).any()
    assert unseen.mask is None


def test_folders_per_split_with_images_and_labels_inside_are_read_too(yolo):
    dataset = detect(yolo("0 0 0 1 0 1 1", image="valid/images/a.jpg", label="valid/labels/a.txt"))

    assert dataset.images[0].mask_name == "valid/labels/a.txt"
    assert dataset.splits == {"valid/images/a.jpg": "val"}


def test_labels_without_an_image_are_told(yolo):
    folder = yolo("")
    (folder / "labels/train/b.txt").touch()

    assert [name for name, _ in detect(folder).strays] == ["labels/train/b.txt"]


@pytest.mark.parametrize(
    "config",
    [
        "path: .\nnames: ['scratch', \"dent\"]\n",
        "names:\n  0: scratch\n  1: dent  \n",
        "train: x\nnames:\n- scratch\n- 'dent'\nnc: 2\n",
        "names: # the classes\n  - scratch\n\n  - dent\nval: y\n",
    ],
)
def test_names_are_read_in_each_of_the_usual_spellings(yolo, config):
    assert [one.name for one in detect(yolo("", config=config)).classes] == ["scratch", "dent"]


@pytest.mark.parametrize(
    "config",
    [
        "nc: 2\n",
        "names:\n",
        "names: {0: a}\n",
        "names:\n  1: a\n  2: b\n",
        "names: [a, a]\n",
        "names: [background, a]\n",
    ],
)
def test_names_in_another_form_are_refused(yolo, config):
    with pytest.raises(BadSource, match=r"data.yaml: "):
        detect(yolo("", config=config))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 0 0 1 0 1 1", r"class '2', expected 0..1"),
        ("-1 0 0 1 0 1 1", "class '-1'"),
        ("0.0 0 0 1 0 1 1", "class '0.0'"),
        ("0 0 0 1", "3 numbers"),
        ("0 0 0 1 0 1", "5 numbers"),
        ("0", "0 numbers"),
        ("0 a b c d e f", "could not convert"),
        ("0 0 0 1 0 1 nan", "within 10000000"),
        ("0 0 0 1 0 1 1e300", "within 10000000"),
    ],
)
def test_a_line_that_gives_no_mask_is_refused_with_its_file(yolo, line, reason):
    with pytest.raises(MaskError, match=f"a.txt: .*{reason}"):
        _mask(yolo(line))
