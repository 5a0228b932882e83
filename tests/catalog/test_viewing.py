import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image as Picture

from catalog import viewing
from catalog.viewing import Unreadable, depth_of, make_view

RAMP = np.tile(np.arange(48, dtype=np.uint8) * 5, (32, 1))  # (32, 48): darker on the left


def _file(picture, kind="PNG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def _view(content, bits=16):
    view = make_view(content, bits=bits)
    return Picture.open(io.BytesIO(view.png))


def test_a_grey_image_stays_as_it_is():
    view = _view(_file(Picture.fromarray(RAMP)))

    assert view.mode == "L"
    assert np.array_equal(view, RAMP)


def test_three_equal_channels_become_one():
    assert _view(_file(Picture.fromarray(RAMP).convert("RGB"))).mode == "L"


def test_colour_stays_colour():
    red = Picture.new("RGB", (8, 8), (200, 10, 10))

    view = _view(_file(red))

    assert view.mode == "RGB"
    assert view.getpixel((3, 3)) == (200, 10, 10)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(kind):
    exif = Picture.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise

    view = _view(_file(Picture.fromarray(RAMP), kind, exif=exif))

    assert view.size == (32, 48)
    assert abs(np.asarray(view, int) - np.rot90(RAMP, -1)).max() < 8  # JPEG changes values a little


def test_a_palette_image_is_shown_in_its_colours():
    indexed = Picture.fromarray(np.zeros((8, 8), np.uint8))
    indexed.putpalette([10, 120, 230] * 256)

    assert _view(_file(indexed)).getpixel((0, 0)) == (10, 120, 230)


def test_what_is_transparent_becomes_black():
    clear = Picture.new("RGBA", (8, 8), (255, 255, 255, 0))

    assert _view(_file(clear)).getpixel((0, 0)) == 0


def test_cmyk_becomes_rgb():
    assert _view(_file(Picture.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).mode == "RGB"


def test_one_bit_becomes_black_and_white():
    assert _view(_file(Picture.new("1", (8, 8), 1))).getpixel((0, 0)) == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_values_are_divided_by_the_same_number_whatever_is_in_the_file(kind):
    dark, bright = (Picture.fromarray(np.full((8, 8), value, np.uint16)) for value in (400, 4000))

    views = [_view(_file(one, kind), bits=12) for one in (dark, bright)]

    assert [view.getpixel((0, 0)) for view in views] == [400 >> 4, 4000 >> 4]


def test_a_16_bit_value_beyond_the_range_of_the_project_is_refused():
    bright = Picture.fromarray(np.full((8, 8), 9000, np.uint16))

    with pytest.raises(Unreadable, match=r"use 12 bits \(0..4095\)"):
        make_view(_file(bright), bits=12)


def test_the_depth_is_the_least_that_holds_every_sampled_value(tmp_path):
    for number, value in enumerate((300, 3000, 900)):
        Picture.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / f"{number}.png")
    Picture.fromarray(RAMP).save(tmp_path / "eight-bit.png")
    (tmp_path / "broken.png").write_bytes(b"no image")

    assert depth_of(sorted(tmp_path.iterdir())) == 12
    assert depth_of([tmp_path / "eight-bit.png"]) == 16


def test_floating_point_and_several_pages_are_refused():
    with pytest.raises(Unreadable, match="floating-point"):
        make_view(_file(Picture.new("F", (8, 8), 0.5), "TIFF"), bits=16)
    pages = Picture.new("L", (8, 8))
    with pytest.raises(Unreadable, match="several pages"):
        make_view(_file(pages, "TIFF", save_all=True, append_images=[pages]), bits=16)


def test_truncated_files_are_refused():
    for kind in ("PNG", "JPEG", "TIFF", "BMP"):
        content = _file(Picture.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)), kind)
        with pytest.raises(Unreadable, match="damaged or truncated"):
            make_view(content[: len(content) // 2], bits=16)


def test_what_is_no_image_is_refused():
    for content in (b"", b"GIF89a", b"%PDF-1.4 no image", bytes(1000)):
        with pytest.raises(Unreadable):
            make_view(content, bits=16)


def test_a_drawing_that_may_hold_a_script_is_refused():
    with pytest.raises(Unreadable):
        make_view(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', bits=16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_page_hidden_in_a_picture_is_not_in_what_is_shown(kind):
    page = b"<html><script>alert(1)</script></html>"
    commented = Picture.Exif()
    commented[0x010E] = page.decode()  # the description

    hidden = [_file(Picture.fromarray(RAMP), kind) + page, _file(Picture.fromarray(RAMP), kind, exif=commented)]

    assert all(b"script" in content for content in hidden)
    assert not any(b"script" in make_view(content, bits=16).png for content in hidden)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Picture.Image, "load", lambda _: pytest.fail("decoded"))

    for side in (9_000, 60_000):
        with pytest.raises(Unreadable, match="decompression bomb"):
            make_view(_png_header(side, side), bits=16)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it remarks on damage, too
def test_damaged_bytes_raise_nothing_but_the_one_error():
    rng = np.random.default_rng(0)
    whole = {kind: _file(Picture.fromarray(RAMP), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP")}
    views = 0
    for content in whole.values():
        for _ in range(60):
            bad = bytearray(content)
            for place in rng.integers(0, len(bad), 6):
                bad[place] = rng.integers(0, 256)
            with suppress(Unreadable):
                make_view(bytes(bad), bits=16)
                views += 1
    assert 0 < views < 60 * len(whole)


def test_a_file_that_may_not_be_read_or_is_too_long_is_refused(tmp_path, monkeypatch):
    with pytest.raises(Unreadable, match="cannot be read"):
        viewing.read_bounded(tmp_path / "gone.png")
    monkeypatch.setattr(viewing, "MAX_BYTES", 3)
    (tmp_path / "long.png").write_bytes(b"four")
    with pytest.raises(Unreadable, match="files up to 3 are taken"):
        viewing.read_bounded(tmp_path / "long.png")


def _png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
