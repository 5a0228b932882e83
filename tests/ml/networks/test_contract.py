import pytest
import torch
from torch.testing import assert_close

from ml.networks.contract import adaptive_means, covering, padded


@pytest.mark.parametrize("cells", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(6, 12), (7, 13), (1, 8)])
def test_adaptive_means_are_those_of_adaptive_pooling(size, cells):
    maps = torch.rand(2, 3, *size)

    assert_close(adaptive_means(maps, cells), torch.nn.functional.adaptive_avg_pool2d(maps, cells))


def test_a_picture_is_padded_behind_with_its_last_row_and_column():
    picture = torch.arange(6.0).view(1, 1, 2, 3)

    assert padded(picture, 4)[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert torch.equal(padded(picture, 1), picture)


def test_maps_are_cut_to_the_cells_that_show_the_picture():
    maps = (torch.rand(1, 1, 32, 64), torch.rand(1, 1, 8, 16), torch.rand(1, 1, 1, 2))

    assert [one.shape[-2:] for one in covering(maps, size=(20, 33), of=(32, 64))] == [(20, 33), (5, 9), (1, 2)]
