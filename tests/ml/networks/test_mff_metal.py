import torch
from torch.testing import assert_close

from ml.networks.mff_metal import MFFMetal, PartitionAttention


def _parameters(module):
    return sum(one.numel() for one in module.parameters())


def test_every_part_has_the_parameters_of_the_original():
    network = MFFMetal(channels=3, classes=4, width=30)

    assert _parameters(network.stem) == 17_280
    assert [_parameters(one) for one in network.down] == [3_780, 7_470, 11_160]
    assert [_parameters(one) for one in network.blocks] == [53_640, 119_610, 635_040]
    assert [_parameters(one) for one in network.fuse] == [11_980, 34_030, 75_430]
    assert _parameters(network.coarse) + _parameters(network.fine) == 12_160


def test_the_logits_are_both_heads_weighed_by_how_much_their_scale_counts():
    torch.manual_seed(0)
    network = MFFMetal(channels=3, classes=4, width=6).eval()

    said = network.outputs(torch.rand(2, 3, 32, 48))
    heads, weights = network.scales(said.features)

    assert_close(weights.sum(dim=1), torch.ones(2))
    assert_close(heads[:, 0], said.heads["coarse"])
    coarse, fine = weights[:, 0].view(2, 1, 1, 1), weights[:, 1].view(2, 1, 1, 1)
    assert_close(said.logits, coarse * said.heads["coarse"] + fine * said.heads["fine"])


def test_the_partition_attention_only_weighs_channels():
    torch.manual_seed(0)
    maps = torch.rand(2, 16, 5, 6) + 0.1

    weights = (PartitionAttention(16)(maps) / maps).detach()

    assert_close(weights, weights.mean(dim=(2, 3), keepdim=True).expand_as(weights))
    assert 0 < float(weights.min()) < float(weights.max()) < 1
