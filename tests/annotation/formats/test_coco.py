"""COCO as others write it, and what pycocotools reads of ours."""

import numpy as np
import pytest
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from annotation.formats import BadSource, detect
from annotation.masks import MaskError

SIZE = (31, 23)
IMAGE = {"id": 7, "file_name": "a.png", "width": 31, "height": 23}
CATEGORIES = [{"id": 5, "name": "dent"}, {"id": 3, "name": "scratch"}]
SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]


@pytest.fixture
def coco(tmp_path, photograph, write_json):
    """A folder of one image with these annotations."""

    def coco(*annotations, images=(IMAGE,), categories=CATEGORIES, file="annotations/instances_default.json"):
        photograph(tmp_path / "coco/images/a.png")
        entries = [{"id": i, "image_id": 7, "category_id": 3, **one} for i, one in enumerate(annotations)]
        write_json(tmp_path / "coco" / file, {"images": list(images), "annotations": entries, "categories": categories})
        return tmp_path / "coco"

    return coco


def _mask(folder):
    (one,) = detect(folder).images
    return one.mask(2, SIZE)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools, of its own arrays
def test_pycocotools_reads_our_masks_pixel_for_pixel(written, masks, capsys):
    folder, _ = written("coco")

    theirs = COCO(folder / "annotations/instances_train.json")

    found = np.zeros(SIZE[::-1], np.uint8)
    for one in theirs.loadAnns(theirs.getAnnIds()):
        pixels = theirs.annToMask(one).astype(bool)
        found[pixels] = one["category_id"]
        assert (one["area"], one["bbox"]) == (pixels.sum(), oracle.toBbox(theirs.annToRLE(one)).tolist())
    assert (found == masks["a.png"]).all()
    kinds = {type(one["segmentation"]) for one in theirs.anns.values()}
    assert kinds == {list, dict}  # outlines, and run lengths where there are holes


def test_classes_are_in_the_order_of_their_ids(coco):
    dataset = detect(coco({"segmentation": [SQUARE]}))

    assert [one.name for one in dataset.classes] == ["scratch", "dent"]
    assert dataset.images[0].mask(2, SIZE)[5, 5] == 1


def test_a_category_called_background_is_none(coco):
    folder = coco(
        {"segmentation": [SQUARE]}, categories=[{"id": 0, "name": "Background"}, {"id": 3, "name": "scratch"}]
    )

    assert [one.name for one in detect(folder).classes] == ["scratch"]
    assert _mask(folder)[5, 5] == 1


def test_several_outlines_of_one_object_are_joined_and_a_later_object_lies_above(coco):
    folder = coco(
        {"segmentation": [SQUARE, [20, 2, 25, 2, 25, 7]]},
        {"segmentation": [[8, 8, 15, 8, 15, 15, 8, 15]], "category_id": 5},
    )

    assert _mask(folder)[[3, 3, 10, 10], [3, 24, 10, 14]].tolist() == [1, 1, 2, 2]


def test_run_lengths_with_holes_are_read_packed_or_not(coco):
    ring = np.zeros(SIZE[::-1], np.uint8)
    ring[3:10, 4:12], ring[5:8, 6:9] = 1, 0
    packed = oracle.encode(np.asfortranarray(ring))
    flat = ring.ravel(order="F")
    numbers = np.diff([0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]).tolist()

    for counts in (packed["counts"].decode(), numbers):
        assert (_mask(coco({"segmentation": {"size": [23, 31], "counts": counts}, "iscrowd": 1})) == ring).all()


def test_an_image_that_is_listed_without_annotations_has_no_defect_and_one_that_is_not_has_not_been_seen(
    coco, photograph
):
    folder = coco()
    photograph(folder / "images/b.png")

    first, second = detect(folder).images

    assert not first.mask(2, SIZE).any()
    assert second.mask is None


def test_what_other_files_of_coco_say_of_the_same_images_is_left_alone(coco, photograph, write_json):
    folder = coco({"segmentation": [SQUARE]})
    write_json(folder / "annotations/image_info_default.json", {"images": [IMAGE], "annotations": [], "categories": []})
    photograph(folder / "annotations/panoptic_default/a.png")  # a mask, as Datumaro leaves it there

    dataset = detect(folder)

    assert [one.name for one in dataset.images] == ["images/a.png"]
    assert _mask(folder)[5, 5] == 1


def test_a_listed_image_that_is_missing_is_told(coco):
    folder = coco(images=[IMAGE, {**IMAGE, "id": 8, "file_name": "../../etc/passwd"}])

    dataset = detect(folder)

    assert len(dataset.images) == 1
    assert dataset.strays[0][0].endswith("etc/passwd")


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segmentation": [], "bbox": [1, 2, 3, 4]}, "only a box"),
        ({"segmentation": [SQUARE], "category_id": 9}, "unknown category 9"),
        ({"segmentation": [SQUARE], "category_id": [3]}, "unknown category"),
        ({"segmentation": [[1, 2, 3, 4]]}, "at least three points"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "at least three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e300]]}, "within 10000000 pixels"),
        ({"segmentation": [[1, 2, 3, 4, 5, 10**400]]}, "too large"),
        ({"segmentation": [["1", "2", 3, 4, 5, 6]]}, "expected numbers"),
        ({"segmentation": SQUARE}, "expected numbers"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, r"expected the size \[23, 31\]"),
        ({"segmentation": {"size": [23, 31], "counts": [7]}}, "hold 7 pixels, expected 713"),
        ({"segmentation": {"size": [23, 31]}}, "no packed"),
        ({"segmentation": "all"}, "expected the size"),
    ],
)
def test_an_annotation_that_gives_no_mask_is_refused(coco, annotation, reason):
    with pytest.raises(MaskError, match=reason):
        _mask(coco(annotation))


def test_an_image_of_another_size_than_listed_is_refused(coco):
    with pytest.raises(MaskError, match="COCO says 31x24 pixels, the image has 31x23"):
        _mask(coco(images=[{**IMAGE, "height": 24}]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"categories": {}}, "expected categories"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "share an id"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "different names"),
        ({"categories": [{"id": i, "name": f"c{i}"} for i in range(255)]}, "at most 254"),
        ({"images": [IMAGE, {**IMAGE, "id": 8}]}, "listed twice"),
        ({"images": [{"id": 7}]}, "with an id and a file_name"),
        ({"images": [{**IMAGE, "id": [7]}]}, "with an id and a file_name"),
        ({"images": [{**IMAGE, "provenance": {"by": 7}}]}, '"kind": "label"'),
        ({"images": [7]}, "lists of objects"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_with_its_name(coco, change, reason):
    folder = coco({"segmentation": [SQUARE]}, **change)

    with pytest.raises(BadSource, match=f"instances_default.json.*{reason}"):
        detect(folder)


def test_a_file_of_brackets_alone_is_refused(coco):
    folder = coco()
    (folder / "annotations/instances_default.json").write_text("[" * 200_000)

    with pytest.raises(BadSource, match="is not JSON"):
        detect(folder)


def test_two_files_with_different_categories_are_refused(coco):
    coco(file="annotations/instances_train.json")
    folder = coco(file="annotations/instances_val.json", categories=CATEGORIES[:1])

    with pytest.raises(BadSource, match="list different categories"):
        detect(folder)
