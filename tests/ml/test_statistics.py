import json

import cv2
import numpy as np
import pytest
from PIL import Image

from ml import agreement, metrics, scenes, statistics, synthetic
from ml.__main__ import main


@pytest.mark.parametrize("seed", range(20))
def test_objects_are_the_connected_parts_that_opencv_finds(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((30, 41)) < rng.uniform(0.1, 0.7)

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)

    assert statistics.object_sizes(mask) == tuple(sorted(stats[1:, cv2.CC_STAT_AREA].tolist(), reverse=True))


def test_an_empty_mask_has_no_objects_and_a_pixel_is_one():
    mask = np.zeros((5, 5), bool)
    assert statistics.object_sizes(mask) == ()

    mask[4, 4] = True

    assert statistics.object_sizes(mask) == (1,)


def _square(row, value=1, ignored=0):
    mask = np.zeros((10, 10), np.uint8)
    mask[row : row + 4, 2:6] = value
    mask[:ignored] = 255
    return mask


def test_agreement_counts_every_pair_of_drawings_in_both_roles():
    counts = agreement.between([_square(2), _square(3), _square(3)], 2)

    once = metrics.confusion(_square(2), _square(3), 2)
    same = metrics.confusion(_square(3), _square(3), 2)
    np.testing.assert_array_equal(counts, 2 * (once + once.T) + 2 * same)


def test_pixels_that_one_drawing_ignores_do_not_count():
    counts = agreement.between([_square(2, ignored=3), _square(2)], 2)

    assert counts.sum() == 2 * 70
    assert counts[0, 1] == 0


def test_a_mask_turned_along_with_its_image_is_no_second_drawing():
    assert not agreement.drawn_apart([_square(2), _square(2)])
    assert agreement.drawn_apart([_square(2), _square(3)])


@pytest.fixture
def folder(tmp_path):
    synthetic.generate(tmp_path, images=40, size=64, seed=2)
    return tmp_path


def _told(folder, capsys):
    assert main(["statistics", str(folder)]) == 0
    return capsys.readouterr().out


def test_statistics_tell_what_a_data_set_holds(folder, capsys):
    masks = [np.array(Image.open(path)) for path in sorted((folder / "masks").iterdir())]

    told = _told(folder, capsys)

    assert "40 images of 64 x 64 (40), 40 with a mask, 30 scenes" in told
    (line,) = [line for line in told.splitlines() if line.startswith("scratch")]
    images, share = line.split()[1:3]
    assert int(images) == sum((mask == 1).any() for mask in masks)
    assert float(share) == pytest.approx(100 * np.mean([mask == 1 for mask in masks]), abs=1e-3)
    assert f"patch {sum((mask == 1).any() and (mask == 2).any() for mask in masks)}" in line
    assert f"{100 * np.mean([not mask.any() for mask in masks]):.1f} % of the masks show no defect" in told
    assert "drawn more than once" not in told
    assert "NOTE" not in told


def test_statistics_tell_the_ceiling_where_a_view_was_drawn_twice(folder, capsys):
    names = sorted(path.name for path in (folder / "images").iterdir())
    labels = scenes.group([scenes.descriptor(np.array(Image.open(folder / "images" / name))) for name in names])
    place = next(
        place for place, label in enumerate(labels) if label != place and (folder / "masks" / names[place]).is_file()
    )
    mask = np.array(Image.open(folder / "masks" / names[place]))
    mask[:20, :20] = 2
    Image.fromarray(mask).save(folder / "masks" / names[place])

    assert "1 views were drawn more than once: two drawings agree to mIoU" in _told(folder, capsys)


def test_statistics_warn_of_a_class_that_few_images_show(folder, capsys):
    for path in sorted((folder / "masks").iterdir())[3:]:
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 3, 0, mask).astype(np.uint8)).save(path)
    for path in sorted((folder / "masks").iterdir())[:3]:
        mask = np.array(Image.open(path))
        mask[:3, :3] = 3
        Image.fromarray(mask).save(path)

    assert "NOTE: class inclusion occurs in 3 images of" in _told(folder, capsys)


def test_statistics_warn_of_grey_edges(folder, capsys):
    path = sorted((folder / "masks").iterdir())[5]
    Image.fromarray(cv2.GaussianBlur(_square(3, 200).repeat(6, 0).repeat(6, 1), (5, 5), 0)[:60, :60]).save(path)

    told = _told(folder, capsys)

    assert "NOTE: 1 masks, the first of images/0006.png, hold values that are no class" in told
    assert "grey edges" in told


def test_statistics_warn_of_masks_drawn_in_black_and_white(folder, capsys):
    paths = sorted((folder / "masks").iterdir())
    drawn = {path: np.array(Image.open(path)) for path in paths}
    showing = [path for path in paths if drawn[path].any()]
    half = len(showing) // 2
    for path in showing[:half]:
        Image.fromarray(np.where(drawn[path] > 0, 255, 0).astype(np.uint8)).save(path)
    assert "255" not in _told(folder, capsys), "what people leave out of an image or two is no fault"

    for path in showing[half : half + 1]:
        Image.fromarray(np.where(drawn[path] > 0, 255, 0).astype(np.uint8)).save(path)

    told = _told(folder, capsys)
    assert f"NOTE: {half + 1} masks, the first of images/{showing[0].name}, hold 0 and 255 only" in told


def test_statistics_warn_when_all_lies_in_one_split_and_when_splits_share_scenes(folder, capsys):
    names = [f"images/{path.name}" for path in sorted((folder / "images").iterdir())]
    (folder / "splits.json").write_text(json.dumps({"train": names, "val": [], "test": []}))
    assert "NOTE: all images are in one split (train)" in _told(folder, capsys)

    (folder / "splits.json").write_text(json.dumps({"train": names[:20], "test": names[20:]}))

    assert "of 20 images of test show a surface that train shows too" in _told(folder, capsys)


@pytest.mark.shared
def test_the_views_of_neu_seg_that_were_drawn_several_times_agree_as_measured_elsewhere(neu_seg):
    drawn = {name: neu_seg.masks[place] for place, name in enumerate(neu_seg.names)}

    descriptors = scenes.stack(neu_seg.descriptors)

    views = list(statistics.several_drawings(neu_seg.names, drawn, descriptors, neu_seg.labels))
    counts = sum(agreement.between(view, 4) for view in views)

    assert 230 <= len(views) <= 250, "measured elsewhere: 232 groups of four"
    assert metrics.mean_iou(counts, background=True) == pytest.approx(0.779, abs=0.015)
    assert metrics.mean_iou(counts, background=False) == pytest.approx(0.720, abs=0.02)
