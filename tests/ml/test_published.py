"""Weights as the authors' own code saves them become checkpoints that answer as the authors' networks do.

No published file is at hand. Its names and shapes are written out here, as the repositories have them, and filled with
numbers that belong to the names. `ANSWERS` are what the authors' own code says with these numbers: measured with the
commits at the top of each network's file, and equal to ours over all pixels within 2e-6.
"""

import zlib
from contextlib import redirect_stderr
from io import StringIO

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ml import checkpoint, published
from ml.__main__ import main
from ml.spec import NetworkSpec, SpecError

CLASSES = ("inclusion", "patch", "scratch")


def _norm(name, channels):
    return {
        **{f"{name}.{of}": (channels,) for of in ("weight", "bias", "running_mean", "running_var")},
        f"{name}.num_batches_tracked": (),
    }


def _convolution(name, outputs, inputs, kernel, *, bias=False):
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), **({f"{name}.bias": (outputs,)} if bias else {})}


def _numbered(name, outputs, inputs, kernel, *, at=0):
    """Convolution and batch normalisation as two neighbours of a Sequential."""
    return _convolution(f"{name}.{at}", outputs, inputs, kernel) | _norm(f"{name}.{at + 1}", outputs)


def _ppl_resnet18():
    shapes = _convolution("backbone.conv1", 64, 3, 7) | _norm("backbone.bn1", 64)
    for layer, (inputs, wide) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
        for block in (0, 1):
            name = f"backbone.layer{layer}.{block}"
            shapes |= _convolution(f"{name}.conv1", wide, wide if block else inputs, 3) | _norm(f"{name}.bn1", wide)
            shapes |= _convolution(f"{name}.conv2", wide, wide, 3) | _norm(f"{name}.bn2", wide)
            if wide > inputs and not block:
                shapes |= _numbered(f"{name}.downsample", wide, inputs, 1)
    for branch, kernel in (("b0", 1), ("b1", 3), ("b2", 3), ("b3", 3)):
        shapes |= _numbered(f"head.{branch}", 64, 512, kernel)
    shapes |= _numbered("head.b4.gap", 64, 512, 1, at=1) | _numbered("head.project", 64, 5 * 64, 1)
    shapes |= _numbered("reduce", 48, 64, 1)
    shapes |= _numbered("fuse", 256, 64 + 48, 3) | _numbered("fuse", 256, 256, 3, at=3)
    return shapes | _convolution("classifier", 4, 256, 1, bias=True)


def _mff_metal():
    def acted(name, channels):
        return _norm(f"{name}.bn", channels) | {f"{name}.acti.weight": (channels,)}

    def unit(name, outputs, inputs, kernel):
        return _convolution(f"{name}.conv", outputs, inputs, kernel) | acted(f"{name}.bn_prelu", outputs)

    shapes = {}
    for place in range(3):
        shapes |= unit(f"Init_Block.init_conv.{place}", 30, 30 if place else 3, 3)
    for stage, blocks in enumerate((2, 2, 6)):
        wide, half, part = 30 * (stage + 2), 15 * (stage + 2), 5 * (stage + 2)
        earlier = sum(30 * (level + 1) for level in range(stage + 2))
        shapes |= _convolution(f"downsample_{stage}.conv3x3.conv", 30, wide - 30, 2)
        shapes |= acted(f"downsample_{stage}.bn_prelu", wide)
        for block in range(blocks):
            name = f"SEM_B_Block{stage}.SEM_B_Block.SEM_Block_{stage}{block}"
            shapes |= unit(f"{name}.conv3x3", half, wide, 3)
            for side in ("left", "middle", "right"):
                shapes |= unit(f"{name}.dconv_{side}", part, 1, 3)
            shapes |= acted(f"{name}.bn_relu_1", wide) | unit(f"{name}.conv3x3_resume.conv3x3", half, half, 3)
            shapes |= _convolution(f"{name}.conv3x3_resume.conv1x1_resume.conv", wide, half, 1)
        name, together = f"FFM_B{stage}", wide + 3 + earlier
        shapes |= _convolution(f"{name}.PMCA.conv2x2.conv", earlier, 1, 2)
        fewer = earlier // 8
        places = enumerate(((fewer, earlier), (1,), (earlier, fewer)))
        shapes |= {f"{name}.PMCA.SE_Block.fc.{place}.weight": shape for place, shape in places}
        shapes |= acted(f"{name}.bn_prelu", together) | _convolution(f"{name}.conv1x1.conv", wide, together, 1)
    for scale, middle, deep in (("48", 90, 120), ("24", 60, 90)):
        name = f"MAD.max_re{scale}"
        shapes |= _convolution(f"{name}.mid_layer_1x1.conv", 16, middle, 1)
        shapes |= _convolution(f"{name}.deep_layer_1x1.conv", 24, deep, 1)
        shapes |= unit(f"{name}.DwConv1", 40, 1, 3) | _convolution(f"{name}.PwConv1.conv", 4, 40, 1)
        shapes |= _convolution(f"{name}.scale_atten.conv", 1, 40, 1)
        shapes |= unit(f"{name}.DwConv2", deep, 1, 3) | _convolution(f"{name}.PwConv2.conv", 4, deep, 1)
    return shapes


def _fast_segformer_p():
    def separable(name, channels, outputs):
        return _numbered(name, channels, 1, 3) | _numbered(name, outputs, channels, 1, at=3)

    def group(name, channels):
        return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}

    shapes = (
        _numbered("cnn1", 32, 3, 3) | separable("cnn2.conv", 32, 32) | _convolution("cnn_up.1", 4, 32, 1, bias=True)
    )
    shapes |= _convolution("common_backbone.patch_embed.proj", 64, 3, 7, bias=True)
    widths = (64, 128, 320, 512)
    for stage, (wide, blocks) in enumerate(zip(widths, (2, 2, 6, 2), strict=True)):
        if stage:
            name = f"common_backbone.network.{2 * stage - 1}.proj"
            shapes |= _convolution(name, wide, widths[stage - 1], 3, bias=True)
        for block in range(blocks):
            name = f"common_backbone.network.{2 * stage}.{block}"
            shapes |= {f"{name}.layer_scale_1": (wide,), f"{name}.layer_scale_2": (wide,)}
            shapes |= group(f"{name}.norm1", wide) | group(f"{name}.norm2", wide)
            shapes |= _convolution(f"{name}.mlp.fc1", 4 * wide, wide, 1, bias=True)
            shapes |= _convolution(f"{name}.mlp.fc2", wide, 4 * wide, 1, bias=True)
        shapes |= group(f"common_backbone.norm{2 * stage}", wide)
    shapes |= _numbered("convert_channel.conv", 256, 512, 1)
    for place in (0, 1):
        name = f"global_feature.bottleneck1.{place}.block"
        shapes |= _numbered(f"{name}.0.conv", 768, 256, 1) | _numbered(f"{name}.1.conv", 768, 1, 3)
        shapes |= _numbered(name, 256, 768, 1, at=2)
    for place, kernel in enumerate((1, 3, 5, 7), start=1):
        shapes |= _numbered(f"global_feature.ppm.conv{place}.conv", 64, 256, kernel)
        shapes |= _numbered(f"global_feature.ppm.conv{place + 4}.conv", 64, 64, 1)
    shapes |= _numbered("global_feature.ppm.out.conv", 512, 512, 1) | _numbered("FFM.dwconv.conv", 512, 1, 3)
    for name, inputs in (("FFM.conv_lower_res", 512), ("FFM.conv_higher_res", 128)):
        shapes |= _convolution(f"{name}.0", 512, inputs, 1, bias=True) | _norm(f"{name}.1", 512)
    shapes |= separable("classify.dsconv1.conv", 512, 512) | separable("classify.dsconv2.conv", 512, 512)
    return shapes | _convolution("classify.conv.1", 32, 512, 1, bias=True)


PUBLISHED = {"ppl_resnet18": _ppl_resnet18, "mff_metal": _mff_metal, "fast_segformer_p": _fast_segformer_p}
SIZES = {"ppl_resnet18": 64, "mff_metal": 64, "fast_segformer_p": 224}
ANSWERS = {  # the logits of the authors' code in row 10, column 40
    "ppl_resnet18": (0.787120, 0.373575, 1.823351, 0.520056),
    "mff_metal": (0.531318, -0.085604, 2.685212, 0.504427),
    "fast_segformer_p": (0.805379, 1.290139, 0.409578, 1.820240),
}


def _filled(shapes):
    """Numbers that belong to the names; of a convolution such that they neither vanish nor grow on the way."""
    weights = {}
    for name, shape in shapes.items():
        drawn = torch.rand(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        weights[name] = (drawn - 0.5) * 0.8 * (12 / drawn[0].numel()) ** 0.5 if len(shape) > 1 else drawn + 0.5
        if not shape:
            weights[name] = torch.zeros((), dtype=torch.long)
    return weights


def _said(*arguments):
    said = StringIO()
    with redirect_stderr(said):
        status = main(["adopt", *map(str, arguments)])
    return status, said.getvalue()


@pytest.mark.parametrize("name", PUBLISHED)
def test_adopted_weights_answer_as_their_authors_network_does(name, tmp_path):
    weights = {f"module.{key}": value for key, value in _filled(PUBLISHED[name]()).items()}
    torch.save({"epoch": 140, "state_dict": weights}, tmp_path / "theirs.pth")

    status, said = _said(
        tmp_path / "theirs.pth", "--network", name, "--classes", *CLASSES, "--out", tmp_path / "ours.pt"
    )

    assert (status, said) == (0, "")
    model, facts = checkpoint.load(tmp_path / "ours.pt", classes=CLASSES)
    assert facts.network == NetworkSpec(name, channels=3)
    picture = torch.rand(1, 3, SIZES[name], SIZES[name], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(model(picture)[0, :, 10, 40], torch.tensor(ANSWERS[name]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wrapper", [None, "model"])
def test_weights_are_found_alone_and_in_the_state_of_a_training(tmp_path, wrapper):
    weights = _filled(_mff_metal())
    torch.save({wrapper: weights, "lr": 0.1} if wrapper else weights, tmp_path / "theirs.pth")

    model, _ = published.adopt(tmp_path / "theirs.pth", NetworkSpec("mff_metal", 3), CLASSES)

    assert torch.equal(model.network.stem[0][0].weight, weights["Init_Block.init_conv.0.conv.weight"])


@pytest.mark.parametrize("architecture", ["Unet", "UnetPlusPlus", "FPN", "PSPNet", "DeepLabV3Plus", "Segformer"])
def test_weights_of_the_library_are_its_own_networks(architecture, tmp_path):
    from ml.networks.encoders import library

    theirs = library("segmentation_models_pytorch").create_model(
        architecture, encoder_name="resnet18", encoder_weights=None, classes=4
    )
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    picture = torch.rand(1, 3, 96, 96)

    model, facts = published.adopt(tmp_path / "theirs.pth", NetworkSpec(f"smp_{architecture.lower()}", 3), CLASSES)

    assert facts.mean == (0.485, 0.456, 0.406)
    with torch.no_grad():
        assert_close(model.network(picture), theirs.eval()(picture))


def _without(name, shapes):
    return {key: value for key, value in shapes.items() if key != name}


@pytest.mark.parametrize(
    ("network", "change", "sentence"),
    [
        ("mff_metal", lambda w: _without("Init_Block.init_conv.0.conv.weight", w), 'Missing key.* "stem.0.0.weight"'),
        ("mff_metal", lambda w: {**w, "aux.weight": torch.ones(1)}, 'Unexpected key.* "aux.weight"'),
        ("mff_metal", lambda w: {**w, "stem.0.0.weight": torch.ones(1)}, "one tensor for stem.0.0.weight, got two"),
        ("mff_metal_teacher", lambda w: w, "expected the weights of mff_metal_teacher, got others .*size mismatch"),
        ("ppl_resnet18", lambda w: w, "expected the weights of ppl_resnet18, got others .*Missing key"),
        ("mff_metal", lambda w: {key: value * torch.nan for key, value in w.items()}, "got weights that are none"),
        ("mff_metal", lambda _: {"epoch": 3}, "expected tensors by name, alone or as state_dict or model, got none"),
        ("mff_metal", lambda _: nn.Conv2d(1, 1, 1), r"a whole module, code .* save model.state_dict\(\)"),
        ("fast_segformer_e", lambda w: w, "network: expected one of ppl_resnet18, .*, got 'fast_segformer_e'"),
        ("vgg", lambda w: w, "network: expected one of ppl_resnet18, .*, got 'vgg'"),
    ],
)
def test_what_is_not_exactly_these_weights_is_refused_in_a_sentence(tmp_path, network, change, sentence):
    torch.save(change(_filled(_mff_metal())), tmp_path / "theirs.pth")

    with pytest.raises(SpecError, match=sentence):
        published.adopt(tmp_path / "theirs.pth", NetworkSpec(network, 3), CLASSES)


def test_other_classes_than_the_file_has_outputs_are_refused_with_what_was_expected(tmp_path):
    torch.save(_filled(_mff_metal()), tmp_path / "theirs.pth")

    status, said = _said(
        tmp_path / "theirs.pth", "--network", "mff_metal", "--classes", "crack", "--out", tmp_path / "ours.pt"
    )

    assert status == 1
    assert "size mismatch" in said
    assert said.endswith("check network, width, encoder and classes: here there are 2 outputs (background, crack)\n")
    assert not (tmp_path / "ours.pt").exists()
