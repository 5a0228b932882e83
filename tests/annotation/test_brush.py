"""The brush codec against the SDK's, against rle-pack itself, and against everything that can be wrong with a stream."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.converter import brush as sdk

from annotation.brush import decode, encode
from annotation.masks import MaskError

# Red pixels of alpha 255, 84, 128, 0, 127 and 255, encoded by @thi.ng/rle-pack 2.1.43 in Node: what an editor sends.
JAVASCRIPT = [
    0, 0, 0, 24, 57, 27, 248, 31, 240, 128, 67, 255, 8, 0, 42, 159, 240, 128, 3, 1, 255, 16, 0, 31, 240, 128, 2, 255,
    255, 8, 4, 31, 224,
]  # fmt: skip

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


def _noisy(height, width, share, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 2, width // 8 : width // 2] = True
    return mask ^ (rng.random((height, width)) < share)


def _bits(*fields):
    """Bytes of (value, width) pairs, padded with zeros."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def _header(values, word=8, sizes=(3, 4, 8, 16)):
    return [(values, 32), (word - 1, 5), *((size - 1, 4) for size in sizes)]


@given(masks)
def test_a_mask_survives_the_round_trip(mask):
    assert (decode(encode(mask), mask.shape[::-1]) == mask).all()


@given(masks)
def test_the_bytes_are_the_sdks_up_to_its_useless_trailing_zero(mask):
    theirs = sdk.mask2rle(mask.astype(np.uint8) * 255)

    ours = encode(mask)

    assert theirs in (ours, [*ours, 0])


@pytest.mark.parametrize("shape", [(200, 200), (130, 1000), (1, 70_000), (300, 400)])
@pytest.mark.parametrize("share", [0, 0.001, 0.3])
def test_long_runs_and_noise_give_the_sdks_bytes(shape, share):
    mask = _noisy(*shape, share)

    ours = encode(mask)

    assert sdk.mask2rle(mask.astype(np.uint8) * 255) in (ours, [*ours, 0])
    assert (decode(ours, shape[::-1]) == mask).all()


@given(masks)
def test_what_the_sdk_encodes_is_read(mask):
    theirs = sdk.mask2rle(mask.astype(np.uint8) * 255)

    assert (decode(theirs, mask.shape[::-1]) == mask).all()


@given(masks)
def test_the_sdk_reads_what_is_encoded(mask):
    values = sdk.decode_rle(encode(mask)).reshape(*mask.shape, 4)

    assert (values == mask[..., None] * 255).all()


def test_the_vector_of_the_reference_is_met():
    mask = np.array([[0, 1], [1, 1], [0, 0]], bool)

    assert encode(mask) == [0, 0, 0, 24, 57, 27, 252, 96, 22, 255, 231, 0]


def test_what_the_editors_own_library_encodes_is_read():
    assert decode(JAVASCRIPT, (6, 1)).tolist() == [[True, False, True, False, False, True]]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_soft_edges_count_from_half_opaque(alphas):
    pixels = [(200, 10, 30, alpha) for alpha in alphas]
    literal = [(0, 1), (3, 2), (4 * len(alphas) - 1, 16), *((value, 8) for pixel in pixels for value in pixel)]
    rle = _bits(*_header(4 * len(alphas)), *literal)

    mask = decode(rle, (len(alphas), 1))

    assert mask.tolist() == [[alpha >= 128 for alpha in alphas]]


def test_a_stream_cut_short_anywhere_is_refused():
    rle = encode(_noisy(20, 30, 0.2))

    for length in range(len(rle)):
        with pytest.raises(MaskError, match="too few" if length < 7 else "ends after"):
            decode(rle[:length], (30, 20))


@pytest.mark.parametrize("surplus", [[0, 0], [1], [0, 7], [255] * 9])
def test_a_stream_that_goes_on_is_refused(surplus):
    mask = np.ones((8, 8), bool)
    aligned = encode(mask)

    with pytest.raises(MaskError, match="goes on after"):
        decode(aligned + surplus, (8, 8))


def test_a_last_run_longer_than_the_image_is_refused():
    rle = _bits(*_header(4), (1, 1), (3, 2), (9, 16), (255, 8))

    with pytest.raises(MaskError, match="goes on after"):
        decode(rle, (1, 1))


@pytest.mark.parametrize("word", [1, 7, 9, 16, 32])
def test_another_word_size_is_refused(word):
    with pytest.raises(MaskError, match=f"{word}-bit values, expected 8"):
        decode(_bits(*_header(4, word=word), (0, 32)), (1, 1))


def test_other_length_fields_than_usual_are_read():
    rle = _bits(*_header(16, sizes=(1, 2, 5, 9)), (1, 1), (2, 2), (15, 5), (255, 8))

    assert decode(rle, (2, 2)).all()


@pytest.mark.parametrize("size", [(30, 21), (31, 20), (2**20, 2**20)])
def test_a_mask_of_another_size_is_refused(size):
    with pytest.raises(MaskError, match=f"holds 2400 values, expected {size[0] * size[1] * 4}"):
        decode(encode(_noisy(20, 30, 0.1)), size)


@pytest.mark.parametrize("rle", [None, "AAEC", 7, {}, [256], [-1], [1.5], ["1"], [None]])
def test_what_is_no_list_of_bytes_is_refused(rle):
    with pytest.raises(MaskError, match="expected"):
        decode(rle, (2, 2))


@given(st.lists(st.integers(0, 255), max_size=60), st.integers(1, 6), st.integers(1, 6))
def test_garbage_is_refused_or_read_but_never_breaks(rubbish, width, height):
    rle = _bits(*_header(4 * width * height)) + rubbish

    try:
        mask = decode(rle, (width, height))
    except MaskError:
        return

    assert mask.shape == (height, width)
