"""A model on its device learns from the gradients it should."""

import copy

import pytest
import torch
from torch import nn

from ml.device import Compute
from ml.networks import Segmenter, build
from ml.spec import NetworkSpec


def _convolutions(name):
    """One of each kind of a network, as it stands where it is trained in bf16 on a processor."""
    flat = (0.5,)
    model = Segmenter(build(NetworkSpec(name=name, channels=1), 4), mean=flat, std=flat)
    placed = Compute(torch.device("cpu"), "bf16").place(model)
    return {str(one): one for one in placed.modules() if isinstance(one, nn.Conv2d)}.values()


def _leave_rubbish_in_memory():
    for count in (3_000, 30_000, 100_000, 300_000, 1_000_000):
        torch.full((count,), float("nan")), torch.full((count,), 1e30)


def _gradient(convolution, pictures, precision):
    convolution.zero_grad()
    _leave_rubbish_in_memory()
    with Compute(torch.device("cpu"), precision).autocast():
        answer = convolution(pictures)
    _leave_rubbish_in_memory()
    answer.float().square().mean().backward()
    return convolution.weight.grad.clone()


@pytest.mark.parametrize("name", ["lean", "mff_metal", "lmffnet", "smp_deeplabv3plus"])
def test_dilated_convolutions_learn_in_bf16_what_they_learn_in_fp32(name):
    dilated = [one for one in _convolutions(name) if max(one.dilation) > 1]

    assert dilated
    for one in dilated:
        pictures = torch.randn(2, one.in_channels, 32, 32).contiguous(memory_format=torch.channels_last)
        expected = _gradient(copy.deepcopy(one), pictures, "fp32")
        for _ in range(3):
            assert torch.allclose(_gradient(one, pictures, "bf16"), expected, atol=0.05 * float(expected.abs().max()))
