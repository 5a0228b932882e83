"""COCO's run lengths against pycocotools, both ways."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as oracle

from annotation.formats import rle
from annotation.masks import MaskError

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.booleans())


def _theirs(mask):
    return oracle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@settings(max_examples=60, deadline=None)
@given(masks)
def test_a_mask_is_packed_into_the_characters_of_pycocotools_and_back(mask):
    packed = rle.encode(mask)

    assert packed == _theirs(mask)
    assert (rle.decode(packed, mask.shape[::-1]) == mask).all()


@pytest.mark.parametrize("period", [1, 7, 1000, 40_000])
def test_long_runs_are_packed_alike(period):
    mask = (np.arange(1200 * 900).reshape(1200, 900) // period % 2 == 1).T

    assert rle.encode(mask) == _theirs(mask)
    assert (rle.decode(rle.encode(mask), (1200, 900)) == mask).all()


def test_run_lengths_as_numbers_are_read():
    assert rle.decode([1, 2, 3], (2, 3)).tolist() == [[False, False], [True, False], [True, False]]


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=12), st.text(alphabet="0123456789:;<=>?@PQ`olkjihgfedcba_^]", max_size=12)))
def test_a_string_is_read_or_refused(text):
    mask = None

    with suppress(MaskError):
        mask = rle.decode(text, (5, 4))

    assert mask is None or mask.shape == (4, 5)


@pytest.mark.parametrize("counts", [None, 7, [5.0, 15], [21, -1], [True] * 20, [], ["20"], [19], [2**70], {}, "", "l"])
def test_what_is_no_run_length_code_of_the_image_is_refused(counts):
    with pytest.raises(MaskError, match="RLE"):
        rle.decode(counts, (5, 4))
