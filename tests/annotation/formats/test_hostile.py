"""Files made to break a reader: they are read, or refused with a sentence, and nothing else ever happens."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotation.formats import BadSource, read_as
from annotation.masks import MaskError

SIZE = (6, 5)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.sampled_from([2**70, -1, 1e300, 0.5, "", "a", "a.png", "rle"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)

COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 6, "height": 5, "provenance": {"kind": "label", "origins": {}}}
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 3, 0, 3, 3]]},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [5, 6], "counts": [10, 20]}},
    ],
    "categories": [{"id": 1, "name": "a"}],
}
DATUMARO = {
    "categories": {"label": {"labels": [{"name": "a"}]}},
    "items": [
        {
            "id": "a",
            "image": {"path": "a.png"},
            "attr": {"provenance": {"by": "x"}},
            "annotations": [
                {"type": "mask", "label_id": 0, "z_order": 1, "rle": {"size": [5, 6], "counts": "d07"}},
                {"type": "polygon", "label_id": 0, "points": [0, 0, 3, 0, 3, 3]},
                {"type": "bbox", "label_id": 0, "bbox": [1, 1, 2, 2]},
            ],
        }
    ],
}
TASKS = [
    {
        "data": {"image": "/data/local-files/?d=a.png", "split": "val"},
        "annotations": [
            {
                "completed_by": {"email": "x"},
                "updated_at": "2026",
                "result": [
                    {
                        "type": kind, "original_width": 6, "original_height": 5, "image_rotation": 0, "origin": "manual",
                        "value": {kind: ["a"], "rle": [0, 0, 0, 120], "x": 1, "y": 1, "width": 9, "height": 9,
                                  "points": [[0, 0], [50, 0], [50, 50]]},
                    }
                    for kind in ("rectanglelabels", "polygonlabels", "brushlabels")
                ],
            }
        ],
    }
]  # fmt: skip
JSON = {"coco": COCO, "datumaro": DATUMARO, "label-studio": TASKS}


def _places(value, path=()):
    """The path to every part of a value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _replaced(value, path, part):
    if not path:
        return part
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], part)
    return copy


def _refusal(files, name):
    """What is said against a folder of one image with these files in a format, all masks read too; None = nothing."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, path).write_bytes(content)
        Path(folder, "images").mkdir(exist_ok=True)
        Image.new("L", SIZE).save(Path(folder, "images/a.png"))
        try:
            dataset = read_as(Path(folder), name)
        except (BadSource, MaskError) as error:
            return str(error)
        for one in dataset.images:
            if one.mask:
                with suppress(MaskError):
                    assert one.mask(len(dataset.classes), SIZE).shape == SIZE[::-1]
    return None


@pytest.mark.parametrize("name", sorted(JSON))
def test_any_part_of_a_file_may_be_something_else(name):
    parts = [None, True, -1, 2**70, 1e300, "", "a", [], {}, [[]], {"a": 1}, [None], [1, "a"]]

    for path in _places(JSON[name]):
        for part in parts:
            assert _refusal({"x.json": json.dumps(_replaced(JSON[name], path, part)).encode()}, name) != ""


@pytest.mark.parametrize("name", sorted(JSON))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_two_parts_may_be_anything(name, data):
    value = JSON[name]
    for _ in range(2):
        value = _replaced(value, data.draw(st.sampled_from(list(_places(value)))), data.draw(values))

    assert _refusal({"x.json": json.dumps(value).encode()}, name) != ""


TEXTS = {
    "yolo": ("labels/a.txt", b"0 0.1 0.1 0.9 0.1 0.9 0.9\n0 0.5 0.5 0.2 0.2\n"),
    "voc-boxes": (
        "Annotations/a.xml",
        (
            b"<annotation><size><width>6</width></size><object><name>a</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            b"<xmax>3</xmax><ymax>3</ymax></bndbox></object></annotation>"
        ),
    ),
    "crack-lists": ("train.txt", b"a.png,a.png\nb.png,b.png\n"),
    "voc": ("labelmap.txt", b"background:0,0,0::\na:1,2,3::\n"),
    "canonical": ("classes.json", b'[{"name": "a", "colour": "#010203"}]'),
}
BESIDE = {
    "yolo": {"data.yaml": b"names: [a]\n"},
    "voc-boxes": {"JPEGImages/a.png": b""},
    "voc": {"JPEGImages/a.png": b"", "SegmentationClass/a.png": b"\x89PNG"},
}


@pytest.mark.parametrize("name", sorted(TEXTS))
@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, 200), length=st.integers(0, 12), bytes_=st.binary(max_size=12))
def test_any_bytes_of_a_text_may_be_others(name, at, length, bytes_):
    path, text = TEXTS[name]

    assert _refusal({path: text[:at] + bytes_ + text[at + length :], **BESIDE.get(name, {})}, name) != ""


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet="names: []-{}#'\"\n\t0ab,", max_size=40))
def test_any_configuration_of_yolo_may_come(text):
    assert _refusal({"labels/a.txt": b"0 0 0 1 0 1 1\n", "data.yaml": b"names:" + text.encode()}, "yolo") != ""
