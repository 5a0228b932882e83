import io

import numpy as np
import pytest
from PIL import Image as Picture

from annotation.masks import IGNORE
from console import overlays

COLOURS = {1: "#ff0000", 2: "#0000ff"}


@pytest.fixture
def grey_view(tmp_path):
    path = tmp_path / "view.png"
    Picture.fromarray(np.full((40, 60), 100, np.uint8)).save(path)
    return path


def square(index: int) -> np.ndarray:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:30] = index
    return mask


def test_a_large_view_is_shrunk_with_its_shape_kept(tmp_path):
    Picture.new("L", (1600, 800)).save(tmp_path / "large.png")

    assert overlays.thumbnail(tmp_path / "large.png").size == (320, 160)


def test_a_small_view_is_not_blown_up(grey_view):
    assert overlays.thumbnail(grey_view).size == (60, 40)


def test_a_defect_is_tinted_within_and_outlined_at_its_edge(grey_view):
    drawn = np.asarray(overlays.overlay(overlays.thumbnail(grey_view), square(1), COLOURS))

    assert tuple(drawn[10, 10]) == (255, 0, 0)
    assert tuple(drawn[20, 20]) == (170, 55, 55)  # 0.55 of the surface, 0.45 of the colour
    assert tuple(drawn[5, 5]) == (100, 100, 100)


def test_pixels_that_count_neither_way_are_grey(grey_view):
    drawn = np.asarray(overlays.overlay(overlays.thumbnail(grey_view), square(IGNORE), COLOURS))

    assert tuple(drawn[10, 10]) == (128, 128, 128)


def test_an_empty_mask_leaves_the_surface_as_it_is(grey_view):
    drawn = overlays.overlay(overlays.thumbnail(grey_view), square(0), COLOURS)

    assert np.array_equal(np.asarray(drawn), np.asarray(overlays.thumbnail(grey_view)))


def test_a_mask_of_another_size_is_laid_over_the_thumbnail(tmp_path):
    Picture.new("L", (640, 640), 100).save(tmp_path / "large.png")
    mask = np.zeros((640, 640), np.uint8)
    mask[:, 320:] = 2

    drawn = np.asarray(overlays.overlay(overlays.thumbnail(tmp_path / "large.png"), mask, COLOURS))

    assert drawn.shape == (320, 320, 3)
    assert drawn[100, 300, 2] > drawn[100, 300, 0]
    assert tuple(drawn[100, 50]) == (100, 100, 100)


def test_a_class_without_a_colour_is_refused(grey_view):
    with pytest.raises(ValueError, match="holds 7"):
        overlays.overlay(overlays.thumbnail(grey_view), square(7), COLOURS)


def test_a_palette_mask_is_read_by_index_and_a_coloured_one_refused(tmp_path):
    palette = Picture.fromarray(square(2), mode="L").convert("P")
    palette.putdata(square(2).ravel().tolist())
    palette.save(tmp_path / "mask.png")
    Picture.new("RGB", (4, 4)).save(tmp_path / "rgb.png")

    assert np.array_equal(overlays.mask_in_file(tmp_path / "mask.png"), square(2))
    with pytest.raises(ValueError, match="expected an index mask"):
        overlays.mask_in_file(tmp_path / "rgb.png")


def test_a_picture_is_sent_as_webp(grey_view):
    data = overlays.webp(overlays.thumbnail(grey_view))

    assert Picture.open(io.BytesIO(data)).format == "WEBP"


def test_a_layer_is_clear_but_for_its_classes_and_as_large_as_needed():
    drawn = np.asarray(overlays.layer(square(1), COLOURS))

    assert drawn.shape == (520, 780, 4)  # enlarged 13 times, to at most 800
    assert tuple(drawn[260, 260]) == (255, 0, 0, round(255 * overlays.FILL))
    assert tuple(drawn[130, 130]) == (255, 0, 0, 255)
    assert drawn[0, 0, 3] == 0


def test_the_layer_of_a_huge_mask_is_shrunk():
    assert overlays.layer(np.zeros((3200, 800), np.uint8), COLOURS).size == (400, 1600)


def test_a_key_names_all_that_a_picture_is_made_of():
    keys = {
        overlays.key("a"), overlays.key("b"), overlays.key("a", "m", {}), overlays.key("a", "m", COLOURS),
        overlays.key("a", "m", {**COLOURS, 1: "#00ff00"}),
    }  # fmt: skip

    assert len(keys) == 5
    assert overlays.key("a", "m", COLOURS) == overlays.key("a", "m", dict(reversed(COLOURS.items())))
