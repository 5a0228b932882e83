"""Label Studio's exports."""

import numpy as np
import pytest

from annotation.formats import BadSource, detect
from annotation.label_config import label_config
from annotation.masks import ClassInfo, MaskError

SIZE = (40, 30)


def _box(label="scratch", x=0, **more):
    value = {"x": x, "y": 0, "width": 50, "height": 100, "rotation": 0, "rectanglelabels": [label]}
    return {
        "id": "r", "type": "rectanglelabels", "from_name": "x", "to_name": "image", "original_width": 40,
        "original_height": 30, "image_rotation": 0, "value": value, "origin": "manual",
    } | more  # fmt: skip


def _task(*results, image="/data/local-files/?d=images/a%20b.png", **more):
    annotations = [{"id": i, "result": result} for i, result in enumerate(results)]
    return {"id": 1, "data": {"image": image}, "annotations": annotations, "predictions": []} | more


@pytest.fixture
def export(tmp_path, photograph, write_json):
    """A folder of one image with these tasks."""

    def export(*tasks, image="images/a b.png"):
        photograph(tmp_path / image, SIZE)
        write_json(tmp_path / "project-1.json", list(tasks))
        return tmp_path

    return export


def test_regions_are_read_and_their_classes_are_in_the_order_of_their_names(export):
    dataset = detect(export(_task([_box("scratch"), _box("dent", x=25)])))

    (one,) = dataset.images
    assert [info.name for info in dataset.classes] == ["dent", "scratch"]
    assert one.mask(2, SIZE)[0].tolist() == [2] * 10 + [1] * 20 + [0] * 10


def test_classes_come_from_the_labelling_interface_where_it_is_there(export):
    folder = export(_task([_box("scratch")]))
    classes = (ClassInfo("scratch", "#010203"), ClassInfo("dent", "#040506"))
    (folder / "label_config.xml").write_text(label_config(classes))

    assert detect(folder).classes == classes


@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=images/a%20b.png",
        "/data/upload/3/1f2e3d4c-a%20b.png",
        "s3://bucket/folder/a b.png",
        "https://example.org/x/a%20b.png?token=7",
        "a b.png",
    ],
)
def test_an_image_is_found_by_its_address(export, address):
    (one,) = detect(export(_task([_box()], image=address))).images

    assert one.mask is not None


def test_an_image_that_is_not_there_is_told(export):
    dataset = detect(export(_task([_box()], image="/data/upload/../../../etc/passwd")))

    assert [one.mask for one in dataset.images] == [None]
    assert dataset.strays[0][0].startswith("project-1.json: ")


def test_the_latest_annotation_that_was_not_cancelled_counts(export):
    task = _task([_box(x=0)], [_box(x=50)], [])
    for one, (day, cancelled) in zip(task["annotations"], [("03", False), ("02", False), ("04", True)], strict=True):
        one |= {
            "updated_at": f"2026-11-{day}T00:00:00Z",
            "was_cancelled": cancelled,
            "completed_by": {"email": f"{day}@x"},
        }

    (one,) = detect(export(task)).images

    assert one.mask(1, SIZE)[0].tolist() == [1] * 20 + [0] * 20
    assert (one.provenance.by, one.provenance.origins) == ("03@x", {"manual": 1})


def test_predictions_are_no_labels_and_no_region_is_no_defect(export, photograph):
    folder = export(
        _task(predictions=[{"result": [_box()]}]),
        _task([], image="images/b.png"),
        _task([_box()], image="images/c.png"),
    )
    photograph(folder / "images/b.png", SIZE)
    photograph(folder / "images/c.png", SIZE)

    predicted, sound, drawn = detect(folder).images

    assert predicted.mask is None
    assert not sound.mask(1, SIZE).any()
    assert drawn.mask(1, SIZE).any()


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (_box(original_width=41), "41x30 pixels"),
        (_box(type="keypointlabels"), "type keypointlabels"),
        (_box(value=7), "the value 7"),
        (_box(type="brushlabels", value={"rle": [1, 2, 3], "brushlabels": ["scratch"]}), "too few"),
        (_box(type="brushlabels", value={"rle": [1, 2, 300], "brushlabels": ["scratch"]}), "expected bytes"),
        (7, "type 7"),
    ],
)
def test_a_region_that_gives_no_mask_is_refused(export, region, reason):
    (one,) = detect(export(_task([_box(), region]))).images

    with pytest.raises(MaskError, match=f"region 2: .*{reason}"):
        one.mask(1, SIZE)


def test_two_tasks_of_one_image_and_two_files_of_tasks_are_refused(export, write_json):
    with pytest.raises(BadSource, match="listed twice"):
        detect(export(_task([_box()]), _task([_box()])))

    write_json(export(_task([_box()])) / "project-2.json", [_task([_box()])])
    with pytest.raises(BadSource, match="both hold tasks"):
        detect(export(_task([_box()])))


def test_brush_strokes_are_kept_as_bytes_until_they_are_read(written, masks):
    folder, _ = written("label-studio")

    dataset = detect(folder)
    result = next(one for one in dataset.images if one.name.endswith("a.png")).mask.args[0]

    assert {type(region["value"]["rle"]) for region in result} == {bytes}
    assert (dataset.images[0].mask(3, (31, 23)) == masks["a.png"]).all()
    assert np.unique(dataset.images[0].mask(3, (31, 23))).size == 4
