"""Brush masks as Label Studio stores them: the run-length code of thi.ng/rle-pack over RGBA pixels.

A stream of bits, most significant first: 32 bits N = width * height * 4 values; 5 bits word size - 1 (a value has 8
bits); four times 4 bits, size - 1, of the fields that hold a length (3, 4, 8, 16). Then blocks until N values are out:
1 bit x, 2 bits k, `size[k]` bits length - 1; then one value, repeated (x = 1), or `length` values (x = 0).

Source: github.com/thi-ng/umbrella, packages/rle-pack; its Python port label_studio_sdk.converter.brush. Encoding gives
the SDK's bytes, without the zero byte it adds to a stream that ends on a byte already.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.masks import MaskError, Size

BoolMask = NDArray[np.bool_]

CHANNELS = 4
OPAQUE = 255  # the value drawn; 1 would be there and invisible in the editor
VISIBLE_FROM = 128  # strokes have soft edges: any alpha at all would fatten a thin scratch by a quarter
WORD = 8  # bits a value
SIZES = (3, 4, 8, 16)  # bits of a length field, by k
HEADER = 32 + 5 + 4 * 4  # bits
LONGEST = 1 << SIZES[-1]  # values in a block


def encode(mask: BoolMask) -> list[int]:
    """The bytes of a mask (H, W), drawn opaque."""
    lengths, values, k = _blocks(mask)
    size = np.array(SIZES)[k]
    words = (
        ((4 | k) << size | lengths - 1) << WORD
    ) | values  # x = 1 (a run of RGBA is never single), k, length, value
    header = mask.size * CHANNELS << 21 | (WORD - 1) << 16 | 0x237F  # sizes - 1
    return _pack(np.append(header, words), np.append(HEADER, 3 + size + WORD))


def decode(rle: Sequence[int], size: Size) -> BoolMask:
    """The mask (H, W) that a brush region covers: the pixels that are at least half opaque.

    Args:
        rle: Bytes, as Label Studio keeps them.
        size: Width and height that the region must have.

    Raises:
        MaskError: The bytes are no such code, end early, go on after the end, or are of another size.
    """
    width, height = size
    data = _bytes(rle)
    total = width * height * CHANNELS
    sizes = _read_header(data, total)
    values = np.frombuffer(_read_values(data, sizes, total), np.uint8)
    return values[CHANNELS - 1 :: CHANNELS].reshape(height, width) >= VISIBLE_FROM


def _blocks(mask: BoolMask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Length, value and k of each block. k follows the whole run, as in the SDK, even where it is cut into several."""
    flat = mask.ravel()
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    runs = np.diff(np.append(starts, flat.size)) * CHANNELS
    pieces = -(-runs // LONGEST)
    lengths = np.full(pieces.sum(), LONGEST)
    lengths[np.cumsum(pieces) - 1] = runs - (pieces - 1) * LONGEST
    k = np.searchsorted([1 << size for size in SIZES[:-1]], runs)
    return lengths, np.repeat(flat[starts] * np.int64(OPAQUE), pieces), np.repeat(k, pieces)


def _pack(words: NDArray[np.int64], widths: NDArray[np.int64]) -> list[int]:
    """Bytes of numbers of these widths in bits, one after the other."""
    ends = np.cumsum(widths)
    shifts = np.repeat(ends, widths) - np.arange(ends[-1]) - 1
    bits = (np.repeat(words, widths) >> shifts & 1).astype(np.uint8)
    packed: list[int] = np.packbits(bits).tolist()
    return packed


def _bytes(rle: Any) -> bytes:
    if not isinstance(rle, list | tuple | bytes):
        raise MaskError(f"brush: expected a list of bytes, got {type(rle).__name__}. Draw it again.")
    try:
        return bytes(rle)
    except (TypeError, ValueError) as error:
        raise MaskError(f"brush: expected bytes 0..255 ({error}). Draw it again.") from error


def _read_header(data: bytes, total: int) -> tuple[int, ...]:
    """The sizes of the length fields, by k."""
    if len(data) * 8 < HEADER:
        raise MaskError(f"brush: {len(data)} bytes are too few for its header. Draw it again.")
    header = int.from_bytes(data[:7], "big") >> 7 * 8 - HEADER
    count, word = header >> 21, (header >> 16 & 31) + 1
    if word != WORD:
        raise MaskError(f"brush: holds {word}-bit values, expected {WORD}. Draw it again.")
    if count != total:
        raise MaskError(f"brush: holds {count} values, expected {total} for this image. Draw it again.")
    return tuple((header >> 4 * (3 - k) & 15) + 1 for k in range(4))


def _read_values(data: bytes, sizes: tuple[int, ...], total: int) -> bytearray:
    values = bytearray()
    padded = data + bytes(5)  # so that the window below is never cut short
    at = HEADER
    while len(values) < total:
        window = int.from_bytes(padded[at >> 3 : (at >> 3) + 5], "big") << (at & 7) & 0xFF_FFFF_FFFF  # 40 bits, or 33
        size = sizes[window >> 37 & 3]
        length = (window >> 37 - size & (1 << size) - 1) + 1
        start = at + 3 + size
        repeated = window >> 39
        at = start + (WORD if repeated else WORD * length)
        if at > 8 * len(data):
            raise MaskError(f"brush: ends after {len(values)} of {total} values. Draw it again.")
        values += bytes([window >> 29 - size & 255]) * length if repeated else _literal(data, start, at)
    if len(values) > total or len(data) - (at + 7) // 8 > 1 or any(data[(at + 7) // 8 :]):
        raise MaskError(f"brush: goes on after its {total} values. Draw it again.")
    return values


def _literal(data: bytes, start: int, end: int) -> bytes:
    """The values between two positions in bits."""
    number = int.from_bytes(data[start >> 3 : (end + 7) >> 3], "big") >> (-end & 7)
    length = (end - start) // WORD
    return (number & (1 << WORD * length) - 1).to_bytes(length, "big")
