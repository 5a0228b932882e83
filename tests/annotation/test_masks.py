import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from annotation.masks import COLOURS, MaskError, palette, read_index_mask, write_index_png, write_palette_png

MASK = np.array([[0, 1, 2], [255, 3, 0]], np.uint8)


@pytest.mark.parametrize("write", [write_index_png, lambda path, mask: write_palette_png(path, mask, COLOURS)])
def test_a_written_mask_is_read_again(tmp_path, write):
    write(tmp_path / "m.png", MASK)

    assert (read_index_mask(tmp_path / "m.png", 3, (3, 2)) == MASK).all()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 255)))
def test_a_palette_never_changes_a_value(mask):
    file = io.BytesIO()

    write_palette_png(file, mask, COLOURS)

    assert (np.asarray(Image.open(file)) == mask).all()


def test_a_palette_shows_background_black_and_classes_in_their_colours():
    table = palette(["#102030", "#aabbcc"])

    assert (table[:3], table[3:6], table[6:9]) == ([0, 0, 0], [16, 32, 48], [170, 187, 204])
    assert len(table) == 768


def test_a_value_outside_the_classes_is_refused(tmp_path):
    write_index_png(tmp_path / "0007.png", np.array([[0, 7]], np.uint8))

    with pytest.raises(MaskError, match=r"mask 0007\.png holds 7; expected 0\.\.3 and 255"):
        read_index_mask(tmp_path / "0007.png", 3, None)


def test_another_size_than_the_images_is_refused_before_decoding(tmp_path):
    path = tmp_path / "m.png"
    write_index_png(path, np.zeros((200, 300), np.uint8))
    path.write_bytes(path.read_bytes()[:60])  # no pixel could be decoded

    with pytest.raises(MaskError, match="is 300x200 pixels, its image 200x300"):
        read_index_mask(path, 3, (200, 300))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "I;16", "LA"])
def test_a_picture_of_another_mode_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "m.png")

    with pytest.raises(MaskError, match="has mode"):
        read_index_mask(tmp_path / "m.png", 3, None)


def test_a_jpeg_is_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "m.jpg")

    with pytest.raises(MaskError, match="JPEG, which changes values"):
        read_index_mask(tmp_path / "m.jpg", 3, None)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "m.png").write_bytes(content)

    with pytest.raises(MaskError, match="cannot be read"):
        read_index_mask(tmp_path / "m.png", 3, None)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_mask_is_refused(tmp_path, share):
    path = tmp_path / "m.png"
    write_index_png(path, np.random.default_rng(0).integers(0, 4, (100, 100)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(MaskError, match="cannot be read"):
        read_index_mask(path, 3, None)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_index_png(tmp_path / "m.png", np.zeros((50, 50), np.uint8))

    with pytest.raises(MaskError, match="cannot be read"):
        read_index_mask(tmp_path / "m.png", 3, None)
