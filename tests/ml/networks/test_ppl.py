"""The published stride and rates, and the mended ones."""

import pytest
import torch

from ml.networks.ppl import Surroundings


def _taps_that_learn(*, cells, rates):
    """Per rate, the share of the nine taps of its convolution that a map of so many cells gives a gradient."""
    torch.manual_seed(0)
    surroundings = Surroundings(8, 4, rates).eval()
    surroundings(torch.randn(1, 8, cells, cells)).square().sum().backward()
    return [float((far[0].weight.grad.abs().sum(dim=(0, 1)) > 0).float().mean()) for far in surroundings.far]


def test_at_200_pixels_the_published_resnet18_learns_nothing_around_a_cell():
    # Stride 32 leaves 7 x 7 cells: three 3 x 3 convolutions of which eight taps in nine never meet the map.
    assert _taps_that_learn(cells=7, rates=(12, 24, 36)) == pytest.approx([1 / 9] * 3)


def test_at_200_pixels_the_mended_one_learns_at_every_tap():
    # Stride 8: 25 x 25 cells.
    assert _taps_that_learn(cells=25, rates=(6, 12, 18)) == [1.0] * 3
