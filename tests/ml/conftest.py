"""A toy data set: bright squares (class 1) and dark discs (class 2) on noise; a tiny network learns it in seconds."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ml import checkpoint, scenes
from ml.spec import NetworkSpec, Sample, TrainSpec

TOY_CLASSES = ("square", "disc")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class NeuSeg:
    """NEU-Seg, read once. groups and scenes are lists of places of the images that belong together."""

    names: list[str]
    descriptors: list[bytes]
    masks: dict[int, NDArray[np.uint8]]
    groups: list[list[int]]
    scenes: list[list[int]]
    labels: list[int]  # as ml.scenes.group finds them


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets; where it is absent the test is skipped, and says so."""
    if not SHARED.is_dir():
        pytest.skip("needs the data sets of ../shared")
    return SHARED


@pytest.fixture(scope="session")
def neu_seg(shared: Path) -> NeuSeg:
    """The real NEU-Seg."""
    with zipfile.ZipFile(shared / "neu_seg_splits.zip") as archive:
        grouped, together = (json.loads(archive.read(f"neu_{kind}.json")) for kind in ("groups", "scenes"))
    names = [name for group in grouped for name in group]
    place = {name: number for number, name in enumerate(names)}
    drawn = [name.replace("images", "annotations").replace("jpg", "png") for name in names]
    with zipfile.ZipFile(shared / "neu_seg.zip") as archive:
        descriptors = [scenes.descriptor(pixels(archive, f"neu_seg/{name}")) for name in names]
        masks = {number: pixels(archive, f"neu_seg/{name}") for number, name in enumerate(drawn)}
    groups, of_scene = ([[place[name] for name in one] for one in kind] for kind in (grouped, together))
    return NeuSeg(names, descriptors, masks, groups, of_scene, scenes.group(descriptors))


def pixels(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    """Grey values of a member."""
    with archive.open(name) as file, Image.open(file) as image:
        return np.array(image.convert("L"))


@pytest.fixture
def toy(tmp_path: Path) -> Callable[[int], tuple[Sample, ...]]:
    """Makes `count` samples of 40 x 40 pixels on disk."""

    def make(count: int) -> tuple[Sample, ...]:
        rng = np.random.default_rng(0)
        return tuple(_write(tmp_path, f"s{n}", *_picture(rng)) for n in range(count))

    return make


@pytest.fixture
def toy_checkpoints(tmp_path: Path) -> Callable[[int], tuple[str, ...]]:
    """Makes `count` checkpoints for the toy classes: random weights that predict every class somewhere."""

    def make(count: int) -> tuple[str, ...]:
        facts = checkpoint.Facts(network=NetworkSpec(width=4), classes=TOY_CLASSES, mean=(0.5,), std=(0.2,))
        for n in range(count):
            torch.manual_seed(n)
            model = facts.fresh()
            torch.nn.init.normal_(model.network.get_parameter("classify.weight"), std=3.0)
            for layer in model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.momentum = 1.0  # it takes the figures of the one batch it sees
            model.train()(torch.rand(4, 1, 40, 40))
            checkpoint.save(model, facts, tmp_path / f"{n}.pt")
        return tuple(f"{n}.pt" for n in range(count))

    return make


@pytest.fixture
def tiny_training(toy: Callable[[int], tuple[Sample, ...]]) -> TrainSpec:
    """Four labelled and four pseudo-labelled samples, three steps."""
    samples = toy(8)
    return TrainSpec(
        classes=TOY_CLASSES, labelled=samples[:4], pseudo=samples[4:], network=NetworkSpec(width=2),
        steps=3, batch=4, crop=32, threads=1,
    )  # fmt: skip


class _WithEncoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.classify = torch.nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classify(self.encoder(x))
        return logits


@pytest.fixture
def with_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network that is made is a tiny one with an encoder."""
    monkeypatch.setattr(checkpoint, "build", lambda *_: _WithEncoder())


def _picture(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    size = 40
    mask = np.zeros((size, size), dtype=np.uint8)
    top, left = rng.integers(2, size // 2, 2)
    mask[top : top + 9, left : left + 9] = 1
    row, column = rng.integers(size // 2 + 2, size - 6, 2)
    y, x = np.mgrid[:size, :size]
    mask[(y - row) ** 2 + (x - column) ** 2 < 30] = 2
    grey = 128 + np.array([0, 80, -80])[mask] + rng.normal(0, 12, mask.shape)
    return grey.clip(0, 255).astype(np.uint8), mask


def _write(folder: Path, name: str, picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> Sample:
    image_path, mask_path = folder / f"{name}.png", folder / f"{name}-mask.png"
    Image.fromarray(picture).save(image_path)
    Image.fromarray(mask).save(mask_path)
    return Sample(name, str(image_path), str(mask_path), scene=f"scene of {name}")
