"""What an encoder begins with, on a machine that can fetch nothing and has fetched nothing before."""

import pytest
import torch
from huggingface_hub import constants

from ml.networks import build
from ml.networks.encoders import begin
from ml.spec import NetworkSpec, SpecError


@pytest.fixture(autouse=True)
def no_way_out(monkeypatch, tmp_path):
    """As HF_HUB_OFFLINE and HF_HOME would: the library reads them when it is imported."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))


def _built(name="smp_unet"):
    return build(NetworkSpec(name), classes=2)


@pytest.mark.parametrize("name", ["ppl_resnet18", "smp_unet"])
def test_without_a_file_it_begins_from_scratch_and_says_why(name):
    network = _built(name)
    before = network.encoder.conv1.weight.clone()

    assert begin(network).startswith("from scratch: ImageNet weights could not be fetched (")
    assert torch.equal(network.encoder.conv1.weight, before)


def test_what_can_be_fetched_is_taken(monkeypatch):
    network = _built()
    monkeypatch.setattr(network, "imagenet", lambda: {k: 0 * v + 2 for k, v in network.encoder.state_dict().items()})

    assert begin(network) == "encoder: ImageNet weights"
    assert float(network.encoder.conv1.weight.detach().mean()) == 2


def test_a_file_is_taken_instead(tmp_path):
    network, file = _built(), tmp_path / "resnet18.pt"
    torch.save({key: one * 0 + 0.5 for key, one in network.encoder.state_dict().items()}, file)

    assert begin(network, file) == f"encoder: weights of {file}"
    assert float(network.encoder.conv1.weight.detach().mean()) == 0.5


def test_a_file_of_another_encoder_is_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")

    with pytest.raises(SpecError, match=r"other\.pt: expected a state dict of this encoder"):
        begin(_built(), tmp_path / "other.pt")


def test_a_network_without_an_encoder_begins_from_scratch(tmp_path):
    assert begin(_built("unet")) == "from scratch: there are no ImageNet weights for this network"
    with pytest.raises(SpecError, match="has no encoder of that kind"):
        begin(_built("unet"), tmp_path / "other.pt")
