"""The view of an image: an oriented 8-bit PNG, grey or RGB, that looks the same in a browser and in training.

What is done to get there: EXIF orientation is applied; palettes, CMYK and other colour spaces become RGB; what is
transparent becomes black; three equal channels become one. 16-bit values are divided by one number for a whole project
(`depth_of`): stretching each file to its own brightest pixel would make equal surfaces look different.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageOps, UnidentifiedImageError

MAX_PIXELS = 80_000_000  # checked before decoding: below the size from which Pillow itself warns
MAX_BYTES = 512 * 2**20  # of a file
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras deliver in 16-bit files
SAMPLED = 64  # files looked at to find a project's depth
DEEP_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})


class Unreadable(ValueError):
    """A file that no view can be made of; the message says why and what to do."""


@dataclass(frozen=True)
class View:
    """A view as PNG, its pixels in grey, and how many bits of a 16-bit original it shows (None for 8-bit ones)."""

    png: bytes
    grey: NDArray[np.uint8]  # (H, W)
    bits: int | None


def make_view(content: bytes, *, bits: int) -> View:
    """The view of an image file, given its bytes. `bits`: of 16-bit values, how many are used (`depth_of`).

    Raises:
        Unreadable: it is damaged, too large, of several pages, or brighter than `bits` allows.
    """
    picture = _decode(content)
    deep = picture.mode in DEEP_MODES
    shown = _to_8_bit(picture, bits) if deep else _to_grey_or_rgb(picture)
    file = io.BytesIO()
    shown.save(file, "PNG", compress_level=1)
    grey = np.asarray(shown if shown.mode == "L" else shown.convert("L"))
    return View(png=file.getvalue(), grey=grey, bits=bits if deep else None)


def depth_of(paths: Sequence[Path]) -> int:
    """Bits that the 16-bit files among these use: the least of 8, 10, 12, 14, 16 that holds every value of a sample."""
    brightest = 0
    for path in paths[:: max(1, len(paths) // SAMPLED)]:
        brightest = max(brightest, _brightest(path))
    return next((bits for bits in DEPTHS if 0 < brightest < 2**bits), 16)


def read_bounded(path: Path) -> bytes:
    """The bytes of a file of an acceptable size.

    Raises:
        Unreadable: it is larger, or may not be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"{path.stat().st_size} bytes; files up to {MAX_BYTES} are taken. Cut it into tiles.")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"the file cannot be read ({error.strerror}). Check its permissions.") from error


def _brightest(path: Path) -> int:
    """The largest value of a 16-bit file, 0 for others; only the former are decoded."""
    try:
        with Picture.open(path) as picture:
            if picture.mode not in DEEP_MODES or picture.width * picture.height > MAX_PIXELS:
                return 0
            return int(np.asarray(picture).max())
    except Exception:  # noqa: BLE001  as in _decode; the file is refused with its reason when its turn comes
        return 0


def _decode(content: bytes) -> Picture.Image:
    try:
        picture = Picture.open(io.BytesIO(content))
        _check_header(picture)
        picture.load()
        return ImageOps.exif_transpose(picture)
    except Unreadable:
        raise
    except Picture.DecompressionBombError as error:
        raise Unreadable(f"a decompression bomb, or too large: {error}") from error
    except UnidentifiedImageError as error:
        raise Unreadable("not an image, or of an unknown kind. Expected PNG, JPEG, TIFF, BMP or WebP.") from error
    # Broad, for decoders raise nearly anything on damaged bytes, and one bad file must not stop ten thousand good ones.
    except Exception as error:
        raise Unreadable(f"damaged or truncated ({error}). Copy or export it again.") from error


def _check_header(picture: Picture.Image) -> None:
    """Before a pixel is decoded."""
    if picture.width * picture.height > MAX_PIXELS:
        raise Unreadable(
            f"{picture.width} x {picture.height} pixels; at most {MAX_PIXELS:,} in all are decoded "
            "(more may be a decompression bomb). Cut it into tiles."
        )
    if picture.mode == "F":
        raise Unreadable("holds floating-point values, whose range is unknown. Export it with 8 or 16 bits.")
    if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:
        raise Unreadable("a TIFF of several pages. Export each page as a file of its own.")


def _to_8_bit(picture: Picture.Image, bits: int) -> Picture.Image:
    values = np.asarray(picture)
    if values.min() < 0 or values.max() >= 2**bits:
        raise Unreadable(
            f"holds values {values.min()}..{values.max()}; the 16-bit images of this project use {bits} bits "
            f"(0..{2**bits - 1}). Export it in the same range, or import it into a project of its own."
        )
    return Picture.fromarray((values >> (bits - 8)).astype(np.uint8))


def _to_grey_or_rgb(picture: Picture.Image) -> Picture.Image:
    if picture.mode in {"L", "1"}:
        return picture.convert("L")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Picture.alpha_composite(Picture.new("RGBA", clear.size, "black"), clear)
    colour = picture.convert("RGB")
    red, green, blue = colour.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        return red
    return colour
