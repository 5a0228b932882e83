import pytest
import torch

from ml import checkpoint
from ml.spec import NetworkSpec, SpecError

FACTS = checkpoint.Facts(network=NetworkSpec(width=2), classes=("scratch", "patch"), mean=(0.4,), std=(0.2,))


def test_a_saved_model_comes_back_with_its_facts_and_the_same_answer(tmp_path):
    model = FACTS.fresh().eval()
    picture = torch.rand(1, 1, 32, 32)

    checkpoint.save(model, FACTS, tmp_path / "a.pt")
    loaded, facts = checkpoint.load(tmp_path / "a.pt", classes=FACTS.classes)

    assert facts == FACTS
    assert torch.equal(loaded(picture), model(picture))
    assert not loaded.training
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_weights_that_do_not_fit_are_not_loaded_in_part(tmp_path):
    model = FACTS.fresh()
    checkpoint.save(model, FACTS, tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["weights"].popitem()
    torch.save(content, tmp_path / "a.pt")

    with pytest.raises(SpecError, match=r"expected the weights of unet, got others .*Missing key.*; use the version"):
        checkpoint.load(tmp_path / "a.pt", classes=FACTS.classes)


def test_weights_of_another_network_are_refused(tmp_path):
    checkpoint.save(FACTS.fresh(), FACTS, tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    content["facts"]["network"]["name"] = "half_unet"
    torch.save(content, tmp_path / "a.pt")

    with pytest.raises(SpecError, match="expected the weights of half_unet, got others"):
        checkpoint.load(tmp_path / "a.pt", classes=FACTS.classes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    """All they can predict is background, on every image."""
    model = FACTS.fresh()
    torch.nn.init.constant_(model.network.get_parameter("classify.bias"), value)
    checkpoint.save(model, FACTS, tmp_path / "a.pt")

    with pytest.raises(SpecError, match=r"expected numbers, got weights that are none \(classify.bias\); train again"):
        checkpoint.load(tmp_path / "a.pt", classes=FACTS.classes)


class _Malicious:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint", "not a checkpoint"),
        (None, "no such file"),
        ({"weights": {}}, "expected a checkpoint of format 1"),
        (_Malicious(), "not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_never_executed(tmp_path, capsys, content, message):
    if isinstance(content, bytes):
        (tmp_path / "a.pt").write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / "a.pt")

    with pytest.raises(SpecError, match=message):
        checkpoint.load(tmp_path / "a.pt", classes=FACTS.classes)

    assert capsys.readouterr().out == ""


def test_a_model_of_other_classes_is_refused(tmp_path):
    checkpoint.save(FACTS.fresh(), FACTS, tmp_path / "a.pt")

    with pytest.raises(SpecError, match="expected classes patch, scratch, got scratch, patch"):
        checkpoint.load(tmp_path / "a.pt", classes=("patch", "scratch"))
