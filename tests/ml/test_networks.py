import pytest
import torch

from ml.networks import NETWORKS, Segmenter, build
from ml.spec import NetworkSpec, SpecError


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (5, 100)])
def test_every_network_answers_pictures_of_any_size_with_logits_of_that_size(name, channels, size):
    network = build(NetworkSpec(name=name, channels=channels, width=2), classes=4).eval()

    logits = network(torch.rand(2, channels, *size))

    assert logits.shape == (2, 4, *size)


@pytest.mark.parametrize(
    ("name", "width", "parameters"),
    [("unet", 8, 486_436), ("unet", 16, 1_942_340), ("half_unet", 16, 484_836), ("half_unet", 32, 1_935_812)],
)
def test_every_network_keeps_to_its_size(name, width, parameters):
    network = build(NetworkSpec(name=name, width=width), classes=4)

    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_does_not_move_the_answer(name):
    # The same picture at a multiple of 16 and with one row and column less: far from the edge nothing may shift.
    torch.manual_seed(0)
    network = build(NetworkSpec(name=name, width=4), classes=2).eval()
    picture = torch.rand(1, 1, 256, 256)

    whole, less = network(picture), network(picture[..., :255, :255])

    torch.testing.assert_close(whole[..., :64, :64], less[..., :64, :64])


@pytest.mark.parametrize("spec", [NetworkSpec(name="vgg"), NetworkSpec(channels=2), NetworkSpec(width=0)])
def test_a_network_nobody_has_is_refused(spec):
    with pytest.raises(SpecError, match="network: expected"):
        build(spec, classes=4)


def test_a_segmenter_normalises_and_keeps_that_out_of_its_weights():
    plain = torch.nn.Identity()
    segmenter = Segmenter(plain, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))

    out = segmenter(torch.full((1, 3, 2, 2), 0.5))

    assert out[0, :, 0, 0].tolist() == [0.0, 1.0, 0.5]
    assert not segmenter.state_dict()
