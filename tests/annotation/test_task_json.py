"""Masks to tasks and back, and every answer that must not become a mask."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from annotation.masks import IGNORE, MaskError
from annotation.task_json import local_file_url, read_answer, regions, task

CLASSES = ["scratch", "patch", "inclusion"]
SIZE = (40, 30)

masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.sampled_from([0, 1, 2, 3])
)


def _region(kind, value, label="scratch"):
    return {
        "id": "r", "type": kind, "from_name": "x", "to_name": "image", "original_width": 40, "original_height": 30,
        "image_rotation": 0, "value": {**value, kind: [label]}, "origin": "manual",
    }  # fmt: skip


def _box(x, y, width, height, label="scratch", **more):
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return _region("rectanglelabels", place, label) | more


def _task(**more):
    mask = np.zeros((30, 40), np.uint8)
    values = {"image": "/i.png", "name": "i.png", "acquisition": 7, "score": 0.25, "model_version": "m1", "mask": mask}
    return task(**(values | {"classes": CLASSES} | more))


@given(masks)
def test_a_prediction_read_as_an_answer_is_the_mask_it_was_made_from(mask):
    made = _task(mask=mask)["predictions"][0]["result"]

    answer = read_answer(json.loads(json.dumps(made)), classes=CLASSES, size=mask.shape[::-1])

    assert (answer.mask == mask).all()
    assert answer.mask.dtype == np.uint8


def test_a_prediction_has_one_region_for_each_class_in_the_mask():
    mask = np.zeros((30, 40), np.uint8)
    mask[2:5, 3:9] = 3
    mask[10:12, 3:9] = 1
    mask[20:, :] = IGNORE

    made = regions(mask, CLASSES)

    assert [region["value"]["brushlabels"] for region in made] == [["scratch"], ["inclusion"]]
    assert {(region["original_width"], region["original_height"]) for region in made} == {(40, 30)}
    assert len({region["id"] for region in made}) == 2


def test_a_task_carries_our_ids_and_its_rank():
    made = _task(score=1 / 3)

    assert made["data"] == {"image": "/i.png", "name": "i.png", "acquisition": 7}
    assert (made["predictions"][0]["score"], made["predictions"][0]["model_version"]) == (0.333333, "m1")


def test_a_blank_task_has_a_prediction_without_regions():
    assert _task(mask=None)["predictions"] == [{"model_version": "m1", "score": 0.25, "result": []}]


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_score_outside_0_to_1_is_refused(score):
    with pytest.raises(ValueError, match="expected a score in"):
        _task(score=score)


def test_a_file_name_is_quoted_in_its_address():
    assert local_file_url("4/a b&c.png") == "/data/local-files/?d=4/a%20b%26c.png"


def test_no_region_is_the_answer_no_defect():
    answer = read_answer([], classes=CLASSES, size=SIZE)

    assert answer.mask.shape == (30, 40)
    assert not answer.mask.any()
    assert answer.origins == {}


def test_the_later_region_wins_where_two_overlap():
    first, second = _box(0, 0, 50, 100, "scratch"), _box(25, 0, 50, 100, "patch")

    there = read_answer([first, second], classes=CLASSES, size=SIZE).mask
    back = read_answer([second, first], classes=CLASSES, size=SIZE).mask

    assert there[0].tolist() == [1] * 10 + [2] * 20 + [0] * 10
    assert back[0].tolist() == [1] * 20 + [2] * 10 + [0] * 10


def test_all_four_tools_are_read():
    polygon = _region("polygonlabels", {"points": [[0, 0], [25, 0], [25, 100], [0, 100]], "closed": True}, "patch")
    ellipse = _region("ellipselabels", {"x": 75, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 0}, "inclusion")
    brush = np.zeros((30, 40), np.uint8)
    brush[:, 39] = 1

    answer = read_answer([polygon, ellipse, *regions(brush, CLASSES), _box(40, 0, 10, 100)], classes=CLASSES, size=SIZE)

    assert answer.mask[15, [0, 9, 10, 17, 30, 39]].tolist() == [2, 2, 0, 1, 3, 1]


def test_regions_are_counted_by_origin():
    result = [_box(0, 0, 9, 9), _box(0, 0, 9, 9, origin="prediction"), _box(0, 0, 9, 9, origin="prediction-changed")]
    without = _box(0, 0, 9, 9)
    del without["origin"]

    answer = read_answer([*result, result[1], without], classes=CLASSES, size=SIZE)

    assert answer.origins == {"manual": 1, "prediction": 2, "prediction-changed": 1, "unknown": 1}


def test_an_origin_of_another_form_is_counted_as_it_is_written():
    assert read_answer([_box(0, 0, 9, 9, origin=["a"])], classes=CLASSES, size=SIZE).origins == {"['a']": 1}


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (_box(0, 0, 9, 9, "pit"), "unknown class 'pit'"),
        (_box(0, 0, 9, 9, original_width=41), "41x30 pixels .* expected 40x30"),
        (_box(0, 0, 9, 9, original_height=None), "40xNone"),
        (_box(0, 0, 9, 9, image_rotation=90), "turned by 90 degrees"),
        (_region("brushlabels", {"format": "rle", "rle": [0, 2, 113, 0]}), "too few"),
        (_region("brushlabels", {"format": "rle"}), "too few"),
        (_region("brushlabels", {"rle": "AAAA"}), "expected a list of bytes"),
        (_region("keypointlabels", {"x": 1, "y": 1, "width": 1}), "type keypointlabels"),
        (_region("magicwand", {"format": "rle", "rle": []}), "type magicwand"),
        ({"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}, "type relation"),
        (_box(0, 0, 9, 9, value={"x": 0, "y": 0, "width": 9, "height": 9}), "the classes None"),
        (_box(0, 0, 9, 9, value={"x": 0, "y": 0, "width": 9, "height": 9, "rectanglelabels": []}), r"classes \[\]"),
        (
            _box(0, 0, 9, 9, value={"x": 0, "y": 0, "width": 9, "height": 9, "rectanglelabels": CLASSES}),
            "expected exactly one",
        ),
        (_box(0, 0, 9, 9, value=[1]), "the value"),
        ({"value": {}}, "type None"),
        ({"type": ["brushlabels"], "value": {}}, "type "),
        ("brush", "type brush"),
        (None, "type None"),
    ],
)
def test_a_region_that_cannot_be_read_is_refused_with_its_number_and_reason(region, reason):
    with pytest.raises(MaskError, match=f"region 2: .*{reason}"):
        read_answer([_box(0, 0, 9, 9), region], classes=CLASSES, size=SIZE)
