import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import onnxruntime
import pytest
import torch

from ml.__main__ import main
from ml.networks import NETWORKS, Outputs, Segmenter, build, outputs
from ml.networks.costs import cost
from ml.spec import NetworkSpec, SpecError

ROOT = Path(__file__).parents[2]
# As narrow as they can be: what is tested here does not depend on width.
WIDTHS = {
    "unet": 8, "half_unet": 8, "lean": 8, "mff_metal": 12, "mcff_l": 4, "attention_unet": 8, "transunet": 16,
}  # fmt: skip
# Larger settings of a class that is tested smaller: counted, not run.
COUNTED_ONLY = {"mff_metal_teacher", "mcff_l_teacher", "ppl_resnet50"}
TESTED = [name for name in NETWORKS if name not in COUNTED_ONLY]
# Normalisations of maps that only a distillation looks at; stages of an encoder below the map that PSPNet begins with.
IDLE = {
    "fast_segformer_e": ("normalise.0.", "normalise.2."),
    "fast_segformer_p": ("normalise.0.", "normalise.2."),
    "smp_pspnet": ("encoder.layer3.", "encoder.layer4."),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """At these sizes several only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _build(name, *, channels=3):
    torch.manual_seed(0)
    network = build(NetworkSpec(name=name, channels=channels, width=WIDTHS.get(name)), classes=4)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after a training
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module", params=TESTED)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    return _build(name)


@pytest.mark.parametrize("size", [(33, 47), (32, 64)])
def test_every_network_answers_pictures_of_any_size_with_logits_of_that_size(network, size):
    said = outputs(network, torch.rand(2, 3, *size))

    assert said.logits.shape == (2, 4, *size)
    assert all(head.shape == said.logits.shape for head in said.heads.values())
    assert all(torch.isfinite(one).all() for one in (said.logits, *said.heads.values(), *said.features))


def test_every_network_takes_grey_pictures(name):
    assert _build(name, channels=1)(torch.rand(1, 1, 32, 32)).shape == (1, 4, 32, 32)


def test_the_logits_of_forward_are_those_of_all_outputs(network):
    pictures = torch.rand(1, 3, 40, 40)

    assert torch.equal(network(pictures), outputs(network, pictures).logits)


def test_gradients_reach_every_parameter(name, network):
    # In evaluation: behind a batch's own normalisation the gradient of a bias is zero but for rounding.
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()

    still = {key for key, one in network.named_parameters() if one.grad is None or not one.grad.any()}
    network.zero_grad()
    assert not {key for key in still if not key.startswith(IDLE.get(name, ()))}
    assert NETWORKS[name].idle >= bool(still)


def test_weights_are_saved_and_loaded_strictly(name, network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    loaded = build(NetworkSpec(name=name, channels=3, width=WIDTHS.get(name)), classes=4).eval()

    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True), strict=True)

    pictures = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(pictures), network(pictures))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_what_is_exported_says_the_same_for_any_batch_and_size(name, network):
    sizes = {2: "height", 3: "width"} if NETWORKS[name].exports_any_size else {}
    axes = {0: "pictures", **sizes}
    exported = io.BytesIO()
    torch.onnx.export(
        network, (torch.rand(2, 3, 32, 32),), exported, dynamo=False, opset_version=17,
        input_names=["pictures"], output_names=["logits"], dynamic_axes={"pictures": axes, "logits": axes},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(exported.getvalue(), providers=["CPUExecutionProvider"])

    pictures = torch.rand(3, 3, 50, 75) if sizes else torch.rand(3, 3, 32, 32)
    (logits,) = session.run(None, {"pictures": pictures.numpy()})

    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(pictures), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def listed():
    """What `python -m ml networks --json` says, by name."""
    said = io.StringIO()
    with redirect_stdout(said):
        assert main(["networks", "--json", "--size", "224", "--classes", "4", "--channels", "3"]) == 0
    return {one["name"]: one for one in json.loads(said.getvalue())["networks"]}


def test_the_command_line_lists_every_network_with_its_cost(listed):
    assert list(listed) == list(NETWORKS)
    assert all(one["parameters"] > 0 and one["gmacs"] > 0 for one in listed.values())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ppl_resnet18", 13_001_124),
        ("ppl_resnet18_mended", 13_001_124),
        ("ppl_resnet50", 40_347_812),
        ("mff_metal", 981_580),
        ("mff_metal_teacher", 34_390_390),
        ("fast_segformer_e", 5_013_044),
        ("fast_segformer_p", 14_891_940),
        ("swin_attention_unet", 49_229_322),
        ("attention_unet", 8_726_176),
        ("transunet", 33_616_468),
        ("lmffnet", 1_342_087),
    ],
)
def test_every_published_network_has_the_parameters_of_the_original(listed, name, parameters):
    assert listed[name]["parameters"] == parameters


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [("mcff_l", 2, 1_179_392), ("mcff_l_teacher", 2, 32_889_152), ("ppl_resnet18", 6, 13_001_638)],
)
def test_so_it_has_for_the_classes_it_was_published_with(name, classes, parameters):
    assert cost(NetworkSpec(name, channels=3), classes=classes, size=32).parameters == parameters


@pytest.mark.parametrize(
    ("name", "width", "parameters"),
    [
        ("mff_metal", 60, 3_862_990),
        ("unet", 8, 486_580),
        ("unet", 16, 1_942_628),
        ("half_unet", 16, 485_124),
        ("half_unet", 32, 1_936_388),
    ],
)
def test_a_width_decides_the_parameters(name, width, parameters):
    assert cost(NetworkSpec(name, channels=3, width=width), classes=4, size=32).parameters == parameters


@pytest.mark.parametrize(
    ("name", "gmacs"),
    [("fast_segformer_e", 0.766), ("fast_segformer_p", 2.66), ("swin_attention_unet", 14.57)],
)
def test_it_multiplies_as_often_as_the_original(listed, name, gmacs):
    # The original's figures count a few more operations (normalisations, poolings).
    assert listed[name]["gmacs"] == pytest.approx(gmacs, rel=0.01)


@pytest.mark.parametrize(
    ("name", "classes", "size", "gmacs"),
    [("mff_metal", 4, 200, 2.17), ("ppl_resnet18", 4, 200, 3.73), ("mcff_l", 2, 448, 32.0)],
)
def test_so_it_does_at_the_size_it_was_published_with(name, classes, size, gmacs):
    assert cost(NetworkSpec(name, channels=3), classes=classes, size=size).gmacs == pytest.approx(gmacs, rel=0.01)


def test_our_student_keeps_to_a_million_parameters_and_half_a_gmac(listed):
    assert listed["lean"]["parameters"] <= 1_000_000
    assert listed["lean"]["gmacs"] <= 0.5


@pytest.mark.parametrize("name", ["unet", "half_unet", "lean", "mff_metal"])
def test_padding_does_not_move_the_answer(name):
    # The same picture at a multiple of 16 and with one row and column less: far from the edge nothing may shift.
    # LeanNet and MFF-Metal weigh channels by the whole picture, which changes with it, a little.
    network = _build(name)
    picture = torch.rand(1, 3, 256, 256)

    whole, less = network(picture), network(picture[..., :255, :255])

    torch.testing.assert_close(whole[..., :64, :64], less[..., :64, :64], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(name="vgg"),
        NetworkSpec(channels=2),
        NetworkSpec(width=0),
        NetworkSpec(name="ppl_resnet18", width=16),
        NetworkSpec(name="unet", encoder="resnet18"),
        NetworkSpec(name="mff_metal", width=16),
        NetworkSpec(name="smp_unet", encoder="resnet17"),
        NetworkSpec(name="smp_unetplusplus", encoder="mit_b0"),
    ],
)
def test_a_network_nobody_has_is_refused(spec):
    with pytest.raises(SpecError, match="network: expected"):
        build(spec, classes=4)


@pytest.mark.parametrize("encoder", ["mit_b0", "mobilenet_v2", "tu-mobilenetv3_small_050"])
def test_a_network_of_the_library_takes_any_of_its_encoders(encoder):
    network = build(NetworkSpec("smp_fpn", channels=1, encoder=encoder), classes=3).eval()

    assert network(torch.rand(1, 1, 40, 70)).shape == (1, 3, 40, 70)


def test_importing_the_networks_imports_no_library_of_networks():
    code = "import sys, ml.networks; sys.exit(bool({'timm', 'segmentation_models_pytorch', 'torchvision'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_segmenter_normalises_and_keeps_that_out_of_its_weights():
    plain = torch.nn.Identity()
    segmenter = Segmenter(plain, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))

    out = segmenter(torch.full((1, 3, 2, 2), 0.5))

    assert out[0, :, 0, 0].tolist() == [0.0, 1.0, 0.5]
    assert not segmenter.state_dict()


def test_a_segmenter_tells_all_that_its_network_says():
    network = _build("mff_metal", channels=1)
    segmenter = Segmenter(network, mean=(0.5,), std=(0.5,))
    pictures = torch.rand(1, 1, 32, 32)

    said = segmenter(pictures, detailed=True)

    assert set(said.heads) == {"coarse", "fine"}
    assert torch.equal(said.logits, segmenter(pictures))
    assert torch.equal(said.heads["fine"], network.outputs(pictures * 2 - 1).heads["fine"])


def test_a_network_with_nothing_to_add_says_its_logits():
    assert outputs(torch.nn.Identity(), torch.ones(1)) == Outputs(torch.ones(1), {}, ())
