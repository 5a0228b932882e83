"""Published data sets and lists, on made trees; NEU-DET and MTD on samples of the real ones too."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotation.formats import BadSource, detect, open_source
from annotation.formats.xml import parse
from annotation.masks import MaskError, write_index_png

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SIZE = (20, 10)

DRAWING = np.zeros((10, 20), np.uint8)
DRAWING[2:8, 3:12] = 100  # a grey edge
DRAWING[3:7, 4:11] = 255


def shared(name):
    return pytest.mark.skipif(not (DATA / name).is_file(), reason=f"needs {name} of ../shared")


def _save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _by_name(dataset):
    return {one.name.rpartition("/")[2]: one for one in dataset.images}


# --- boxes ------------------------------------------------------------------------------------------------------------


def _xml(*boxes, size=SIZE):
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(
            f"<{side}>{corner}</{side}>" for side, corner in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox></object>"
        for name, *box in boxes
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"


@pytest.fixture
def boxes(tmp_path, photograph):
    """A folder of one image with this XML."""

    def boxes(text, folders=("JPEGImages", "Annotations")):
        photograph(tmp_path / folders[0] / "a.jpg", SIZE)
        (tmp_path / folders[1]).mkdir(exist_ok=True)
        (tmp_path / folders[1] / "a.xml").write_text(text)
        return tmp_path

    return boxes


def test_boxes_are_filled_the_later_above_and_said_to_be_weak(boxes):
    dataset = detect(boxes(_xml(("pit", 1, 1, 4, 10), ("crack", 3, 2, 20, 3))))

    (one,) = dataset.images
    expected = np.zeros((10, 20), np.uint8)
    expected[:, :4] = 2
    expected[1:3, 2:] = 1
    assert (one.mask(2, SIZE) == expected).all()
    assert [info.name for info in dataset.classes] == ["crack", "pit"]
    assert one.provenance.kind == "weak"
    assert "weak labels" in dataset.notices[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_xml(("pit", 0, 1, 4, 10)), "corners from 1,1 to 20,10"),
        (_xml(("pit", 1, 1, 21, 10)), "corners from 1,1 to 20,10"),
        (_xml(("pit", 5, 1, 4, 10)), "corners from 1,1"),
        (_xml(("pit", 5, 1, "", 10)), "expected numbers"),
        (_xml(("pit", 5, 1, "1e999", 10)), "expected numbers"),
        (_xml(("pit", 1, 1, 4, 10), size=(21, 10)), "says 21x10 pixels"),
        (_xml(("", 1, 1, 4, 10)), "unknown class ''"),
        ("<annotation>", "is not XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "document type"),
    ],
)
def test_boxes_that_give_no_mask_are_refused(boxes, text, reason):
    (one,) = detect(boxes(text)).images

    with pytest.raises(MaskError, match=f"a.xml.*{reason}"):
        one.mask(1, SIZE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_that_stand_for_gigabytes_are_not_expanded(tmp_path, encoding):
    levels = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY e0 "x">{levels}]><a>&e12;</a>'
    (tmp_path / "a.xml").write_bytes(bomb.encode(encoding))

    with pytest.raises(BadSource, match="document type"):
        parse(tmp_path / "a.xml")


def test_neu_det_has_its_classes_in_the_order_of_its_own_masks(boxes):
    dataset = detect(boxes(_xml(("scratches", 1, 1, 4, 10)), folders=("IMAGES", "ANNOTATIONS")))

    assert [one.name for one in dataset.classes][::5] == ["crazing", "scratches"]
    assert dataset.images[0].mask(6, SIZE).max() == 6


@pytest.mark.shared
@shared("neu_det_sample.zip")
def test_every_image_of_the_real_neu_det_gives_a_mask_of_its_class(tmp_path):
    dataset = detect(open_source(DATA / "neu_det_sample.zip", tmp_path))
    names = [one.name for one in dataset.classes]

    assert (dataset.format, len(dataset.images), dataset.strays) == ("NEU-DET", 72, ())
    shares = {name: [] for name in names}
    for one in dataset.images:
        name = next(name for name in names if one.name.startswith(f"IMAGES/{name}"))
        shares[name].append((one.mask(6, (200, 200)) == names.index(name) + 1).mean())
    # As measured over all of NEU-DET: pitted .81, crazing .50, scratches .18.
    assert np.mean(shares["pitted_surface"]) > np.mean(shares["crazing"]) > np.mean(shares["scratches"]) > 0.1


# --- drawings ---------------------------------------------------------------------------------------------------------


def test_mtd_takes_the_class_from_the_folder_and_more_than_half_of_white(tmp_path):
    for folder in ("MT_Blowhole", "MT_Crack", "MT_Free"):
        _save(tmp_path / folder / "Imgs" / f"{folder}.jpg", DRAWING)
        _save(tmp_path / folder / "Imgs" / f"{folder}.png", DRAWING)
    _save(tmp_path / "MT_Crack/Imgs/alone.png", DRAWING)

    dataset = detect(tmp_path)

    masks = {name: one.mask(5, SIZE) for name, one in _by_name(dataset).items()}
    assert (masks["MT_Blowhole.jpg"] == (DRAWING == 255) * 1).all()
    assert (masks["MT_Crack.jpg"] == (DRAWING == 255) * 3).all()
    assert not masks["MT_Free.jpg"].any()
    assert [name for name, _ in dataset.strays] == ["MT_Crack/Imgs/alone.png"]


@pytest.mark.shared
@shared("mtd_sample.zip")
def test_every_image_of_the_real_mtd_gives_a_mask(tmp_path):
    dataset = detect(open_source(DATA / "mtd_sample.zip", tmp_path))

    assert (dataset.format, len(dataset.images), dataset.strays) == ("MTD", 73, ())
    for one in dataset.images:
        with Image.open(one.image) as picture:
            found = set(np.unique(one.mask(5, picture.size)).tolist())
        index = ["Free", "Blowhole", "Break", "Crack", "Fray", "Uneven"].index(one.name.split("/")[0][3:])
        assert found <= {0, index}


def test_dagm_takes_the_class_from_the_texture_and_no_drawing_for_no_defect(tmp_path):
    _save(tmp_path / "Class3/Train/0001.PNG", DRAWING)
    _save(tmp_path / "Class3/Train/Label/0001_label.PNG", DRAWING)
    _save(tmp_path / "Class10/Test/0002.PNG", DRAWING)
    _save(tmp_path / "Class10/Test/Label/0009_label.PNG", DRAWING)

    dataset = detect(tmp_path)

    sound, defective = dataset.images
    assert (defective.mask(10, SIZE) == (DRAWING == 255) * 3).all()
    assert not sound.mask(10, SIZE).any()
    assert dataset.splits == {"Class10/Test/0002.PNG": "test", "Class3/Train/0001.PNG": "train"}
    assert (defective.provenance.kind, len(dataset.classes)) == ("weak", 10)
    assert [name for name, _ in dataset.strays] == ["Class10/Test/Label/0009_label.PNG"]


# --- lists ------------------------------------------------------------------------------------------------------------


def test_crack_lists_pair_images_with_masks_whose_cracks_are_fully_green(tmp_path):
    coloured = np.zeros((10, 20, 3), np.uint8)
    coloured[..., 1] = DRAWING
    for split in ("train", "val"):
        _save(tmp_path / split / "img" / f"{split}.jpg", DRAWING)
        _save(tmp_path / split / "mask" / f"{split}.png", coloured)
        (tmp_path / f"{split}.txt").write_text(f"{split}.jpg,{split}.png\nmissing.jpg,missing.png\n")

    dataset = detect(tmp_path)

    assert dataset.splits == {"train/img/train.jpg": "train", "val/img/val.jpg": "val"}
    assert all((one.mask(1, SIZE) == (DRAWING == 255)).all() for one in dataset.images)
    assert [name for name, _ in dataset.strays] == [
        "train.txt: missing.jpg,missing.png",
        "val.txt: missing.jpg,missing.png",
    ]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../../../../../../../etc/passwd", "x\0y", "x" * 300, "a/" * 3000 + "b"]
)
def test_a_line_that_leads_anywhere_else_is_no_image_of_the_data_set(tmp_path, name):
    _save(tmp_path / "img/a.jpg", DRAWING)
    _save(tmp_path / "mask/a.png", DRAWING)
    (tmp_path / "train.txt").write_text(f"a.jpg,a.png\n{name},{name}\n")

    dataset = detect(tmp_path)

    assert [one.name for one in dataset.images] == ["img/a.jpg"]
    assert len(dataset.strays) == 1


@pytest.mark.parametrize("text", ["a,b\nc", "a,b\n,\n", "a,b\nc,d,e\n"])
def test_a_list_with_another_line_is_refused(tmp_path, text):
    (tmp_path / "train.txt").write_text(text)

    with pytest.raises(BadSource, match=r"train.txt: expected an image and its mask in each line"):
        detect(tmp_path)


@pytest.fixture
def ppl(tmp_path):
    """Lists two folders below their data: two labelled images, one unlabelled, one held out."""
    for number in range(4):
        _save(tmp_path / f"images/{number}.jpg", DRAWING)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        write_index_png(tmp_path / f"annotations/{number}.png", np.full((10, 20), number, np.uint8))
    lines = [f"images/{number}.jpg annotations/{number}.png\n" for number in range(4)]
    (tmp_path / "splits/1_8").mkdir(parents=True)
    (tmp_path / "splits/1_8/labeled.txt").write_text(lines[0] + lines[1])
    (tmp_path / "splits/1_8/unlabeled.txt").write_text(lines[2])
    (tmp_path / "splits/val.txt").write_text(lines[3])
    return tmp_path / "splits/1_8"


def test_ppl_gives_masks_to_labelled_and_held_out_images_only(ppl):
    dataset = detect(ppl)

    masks = {one.name: one.mask and int(one.mask(3, SIZE).max()) for one in dataset.images}
    assert masks == {"images/0.jpg": 0, "images/1.jpg": 1, "images/2.jpg": None, "images/3.jpg": 3}
    assert list(dataset.splits.values()) == ["train", "train", "train", "val"]


def test_an_image_in_two_of_ppls_lists_is_refused(ppl):
    (ppl / "unlabeled.txt").write_text("images/1.jpg annotations/1.png\n")

    with pytest.raises(BadSource, match="stands in two lists"):
        detect(ppl)


def test_ppls_lists_without_their_data_are_refused(ppl):
    (ppl / "labeled.txt").write_text("elsewhere/1.jpg elsewhere/1.png\n")

    with pytest.raises(BadSource, match=r"elsewhere/1.jpg, which is not in a folder above"):
        detect(ppl)
