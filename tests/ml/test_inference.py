"""Looking at a picture in windows, mirrored and at several sizes: what it changes, and that it helps.

The large picture is a surface of 384 pixels whose light rises and falls over it, with 128 defects; the network was
trained on surfaces of 48 pixels, each evenly lit.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ml import checkpoint, metrics
from ml.device import Compute, Team
from ml.inference import _starts, probabilities
from ml.networks import Segmenter
from ml.predict import predict
from ml.spec import PredictSpec, Sample, TrainSpec
from ml.train import train

SIDE, CLASSES = 48, ("square", "disc")
PLAIN = Compute(torch.device("cpu"), "fp32")


class Glancing(nn.Module):
    """Like DeepLab's pooled branch, attention and squeeze: what is near, beside the mean of all that is in sight."""

    def __init__(self):
        super().__init__()
        self.near = nn.Sequential(_convolution(1), _convolution(8))
        self.whole = nn.Conv2d(8, 8, 1)
        self.join = _convolution(8)
        self.classify = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = self.near(x)
        return self.classify(self.join(x + self.whole(x.mean((2, 3), keepdim=True))))


def _convolution(inputs):
    return nn.Sequential(nn.Conv2d(inputs, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())


def _surface(rng, light):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(2, SIDE // 2, 2)
    mask[top : top + 9, left : left + 9] = 1
    row, column = rng.integers(SIDE // 2 + 2, SIDE - 6, 2)
    y, x = np.mgrid[:SIDE, :SIDE]
    mask[(y - row) ** 2 + (x - column) ** 2 < 30] = 2
    return light + np.array([0, 40, -40])[mask] + rng.normal(0, 12, mask.shape), mask


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(1)
    rows = [[_surface(rng, light=128) for _ in range(8)] for _ in range(8)]
    grey, truth = (np.block([[one[which] for one in row] for row in rows]) for which in (0, 1))
    y, x = np.mgrid[: 8 * SIDE, : 8 * SIDE] / SIDE
    return (grey + 58 * np.sin(0.8 * x) * np.cos(0.6 * y)).clip(0, 255).astype(np.uint8), truth


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The network, and its checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    rng, samples = np.random.default_rng(0), []
    for n in range(24):
        grey, mask = _surface(rng, light=rng.uniform(70, 186))
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / f"{n}.png")
        Image.fromarray(mask).save(folder / f"{n}-mask.png")
        samples.append(Sample(str(n), f"{n}.png", f"{n}-mask.png"))
    spec = TrainSpec(
        CLASSES, tuple(samples), steps=100, batch=8, crop=SIDE, optimiser="adamw",
        learning_rate=0.01, threads=1, precision="fp32",
    )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "build", lambda *_: Glancing())
        train(spec, folder, say=lambda _: None, team=Team())
        return checkpoint.load(folder / "checkpoint-3.pt", classes=CLASSES)[0], folder / "checkpoint-3.pt"


def _miou(model, large, **options):
    picture, truth = large
    found = probabilities(model, torch.from_numpy(picture)[None, None], compute=PLAIN, **options)
    found = found.argmax(dim=1)[0].numpy().astype(np.uint8)
    return metrics.mean_iou(metrics.confusion(truth, found, 3), background=True)


def test_windows_as_large_as_the_training_crop_rescue_a_network_that_sees_the_whole(trained, large):
    whole, parted, blended = (
        _miou(trained[0], large, **options) for options in ({}, {"window": SIDE, "overlap": 0.0}, {"window": SIDE})
    )

    # Measured over four such pictures: 0.246 to 0.247, 0.838 to 0.855, 0.893 to 0.898.
    assert parted > whole + 0.4
    assert blended > parted + 0.02, "what is cut at the edge of one window is whole in another"


def test_mirrors_and_sizes_improve_it_further(trained, large):
    windows = {"window": SIDE}

    plain, mirrors, sizes = (
        _miou(trained[0], large, **windows, **options) for options in ({}, {"flip": True}, {"scales": (0.8, 1.0, 1.25)})
    )

    # Measured over three such pictures: 0.893 to 0.898, 0.907 to 0.915, 0.921 to 0.927.
    assert mirrors > plain + 0.005
    assert sizes > plain + 0.01


def test_a_prediction_follows_the_spec(trained, large, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "build", lambda *_: Glancing())
    Image.fromarray(large[0]).save(tmp_path / "large.png")
    spec = PredictSpec(CLASSES, (str(trained[1]),), (Sample("large", "large.png"),))

    scores = [
        predict(dataclasses.replace(spec, **options), tmp_path, say=lambda _: None).scores[0]
        for options in ({}, {"window": SIDE}, {"flip": True}, {"scales": (0.8, 1.25)})
    ]

    assert len({score.confidence for score in scores}) == 4
    assert {sum(score.class_pixels) for score in scores} == {large[0].size}


def _pointwise():
    """A network to which every pixel stands alone: however it is shown, its answer is the same."""
    torch.manual_seed(0)
    return Segmenter(nn.Conv2d(1, 3, 1), mean=(0.5,), std=(0.1,))


@pytest.mark.parametrize("size", [(100, 100), (40, 133), (133, 40), (32, 32), (33, 31)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_windows_cover_every_pixel_of_any_size_and_their_weights_cancel(size, overlap):
    images = torch.randint(0, 256, (3, 1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = _pointwise()

    whole = probabilities(model, images, compute=PLAIN)
    windows = probabilities(model, images, compute=PLAIN, window=32, overlap=overlap)

    torch.testing.assert_close(windows, whole)
    torch.testing.assert_close(probabilities(model, images, compute=PLAIN, window=32, flip=True), whole)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100, 1000])
@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.5, 0.99])
def test_windows_reach_from_edge_to_edge_and_overlap_as_asked(length, overlap):
    starts = _starts(length, 32, overlap)

    assert (starts[0], starts[-1]) == (0, max(0, length - 32))
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(0 < step <= max(1, 32 * (1 - overlap)) + 1 for step in steps)


def test_a_network_never_sees_more_than_its_share_of_windows():
    seen = []
    model = _pointwise()
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape))

    probabilities(model, torch.zeros(1, 1, 500, 700, dtype=torch.uint8), compute=PLAIN, window=64, at_once=4)

    assert {shape[1:] for shape in seen} == {(1, 64, 64)}
    assert max(shape[0] for shape in seen) == 4
    assert sum(shape[0] for shape in seen) == 15 * 21


def test_an_answer_that_is_no_number_is_never_called_background():
    model = _pointwise()
    nn.init.constant_(model.network.bias, float("nan"))

    with pytest.raises(ArithmeticError, match="expected probabilities, got what is no number; train"):
        probabilities(model, torch.zeros(1, 1, 8, 8, dtype=torch.uint8), compute=PLAIN)
