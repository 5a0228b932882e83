"""VOC segmentation and CVAT's masks, as others write them."""

import numpy as np
import pytest
from PIL import Image

from annotation.formats import BadSource, detect
from annotation.masks import IGNORE, MaskError, write_index_png

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nscratch:128,0,0::\ndent:0,128,0:part,other:\n"
VALUES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [224, 224, 192]], np.uint8)


@pytest.fixture
def voc(tmp_path, photograph):
    """A folder of one image, its mask this picture."""

    def voc(picture, labelmap=LABELMAP):
        photograph(tmp_path / "voc/JPEGImages/a.jpg", (3, 2))
        (tmp_path / "voc/SegmentationClass").mkdir(exist_ok=True)
        picture.save(tmp_path / "voc/SegmentationClass/a.png")
        if labelmap is not None:
            (tmp_path / "voc/labelmap.txt").write_text(labelmap)
        return tmp_path / "voc"

    return voc


def _mask(folder):
    (one,) = detect(folder).images
    return one.mask(2, (3, 2))


def _palette(values, table):
    picture = Image.fromarray(values)
    picture.putpalette(table)
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(COLOURS[VALUES]),
        Image.fromarray(COLOURS[VALUES]).convert("RGBA"),
        Image.fromarray(VALUES),
        _palette(VALUES, COLOURS.ravel().tolist()),
        _palette(2 - VALUES, COLOURS[[2, 1, 0]].ravel().tolist()),  # other indices, the same colours
    ],
    ids=["RGB", "RGBA", "grey", "palette", "palette in another order"],
)
def test_colours_decide_and_in_a_grey_mask_the_order_of_the_labelmap(voc, picture):
    folder = voc(picture)

    assert (_mask(folder) == VALUES).all()
    assert [(one.name, one.colour) for one in detect(folder).classes] == [("scratch", "#800000"), ("dent", "#008000")]


def test_the_pale_border_of_voc_is_ignored(voc):
    mask = _mask(voc(Image.fromarray(COLOURS[VALUES + 1])))

    assert (mask == np.array([[1, 2, IGNORE], [IGNORE, 2, 1]])).all()


def test_without_a_labelmap_values_are_indices_and_nothing_names_the_classes(voc):
    folder = voc(Image.fromarray(VALUES), labelmap=None)

    assert (_mask(folder) == VALUES).all()
    assert detect(folder).classes == ()


def test_lists_say_which_split_an_image_is_of(voc):
    folder = voc(Image.fromarray(VALUES))
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    (folder / "ImageSets/Segmentation/val.txt").write_text("a\nelsewhere\n")
    (folder / "ImageSets/Segmentation/trainval.txt").write_text("a\n")

    assert detect(folder).splits == {"JPEGImages/a.jpg": "val"}

    (folder / "ImageSets/Segmentation/train.txt").write_text("a\n")
    with pytest.raises(BadSource, match=r"val.txt: JPEGImages/a.jpg stands in train too"):
        detect(folder)


def test_a_colour_that_the_labelmap_does_not_list_is_refused(voc):
    with pytest.raises(MaskError, match=r"mask a.png holds #010203; expected #e0e0c0, #000000, #800000, #008000"):
        _mask(voc(Image.new("RGB", (3, 2), (1, 2, 3))))


@pytest.mark.parametrize(
    ("labelmap", "reason"),
    [
        ("scratch:1,2::", "expected lines such as"),
        ("scratch:1,2,256::", "expected lines such as"),
        ("scratch:::", "expected lines such as"),
        ("a:1,2,3::\nb:1,2,3::", "share a colour"),
        ("a:1,2,3::\na:1,2,4::", "different names"),
        ("\xff:1,2,3", "no text in UTF-8"),
    ],
)
def test_a_labelmap_of_another_form_is_refused(voc, labelmap, reason):
    folder = voc(Image.fromarray(VALUES))
    (folder / "labelmap.txt").write_bytes(labelmap.encode("latin-1"))

    with pytest.raises(BadSource, match=f"labelmap.txt.*{reason}"):
        detect(folder)


def test_a_labelmap_of_many_comments_only_names_no_class(voc):
    assert detect(voc(Image.fromarray(VALUES), labelmap="# nothing\n")).classes == ()


def test_cvat_masks_without_their_images_say_what_is_missing(tmp_path):
    (tmp_path / "SegmentationClass").mkdir()
    write_index_png(tmp_path / "SegmentationClass/a.png", VALUES)
    (tmp_path / "labelmap.txt").write_text(LABELMAP)

    with pytest.raises(BadSource, match="save images"):
        detect(tmp_path)
