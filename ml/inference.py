"""What prediction and evaluation share: models from checkpoints, and class probabilities of pictures."""

from pathlib import Path

import torch
from torch import Tensor

from ml import checkpoint
from ml.device import Compute
from ml.networks import Segmenter
from ml.spec import EvaluateSpec, PredictSpec, SpecError


def load_models(spec: PredictSpec | EvaluateSpec, folder: Path, compute: Compute) -> tuple[list[Segmenter], int]:
    """The models of a spec on their device, and the channels of the pictures they take.

    Raises:
        SpecError: there is nothing to run or to run on, or the checkpoints do not go together.
    """
    if not (spec.checkpoints and spec.samples and spec.batch > 0):
        raise SpecError(
            f"expected checkpoints, samples and a positive batch, got {len(spec.checkpoints)} checkpoints, "
            f"{len(spec.samples)} samples and batch {spec.batch}"
        )
    pairs = [checkpoint.load(folder / name, classes=spec.classes) for name in spec.checkpoints]
    channels = {facts.network.channels for _, facts in pairs}
    if len(channels) > 1:
        raise SpecError("checkpoints: expected all for grey or all for RGB pictures, got both; run them apart")
    return [compute.place(model) for model, _ in pairs], channels.pop()


def probabilities(model: Segmenter, images: Tensor, *, flip: bool, compute: Compute) -> Tensor:
    """(N, K, H, W) float32 in [0, 1], on the device.

    images: (N, C, H, W) uint8.  flip: average over the pictures and their three mirror images.
    """
    pictures = images.to(compute.device).float().div(255).contiguous(memory_format=torch.channels_last)
    mirrors: list[list[int]] = [[], [-1], [-2], [-2, -1]] if flip else [[]]
    with torch.inference_mode(), compute.autocast():
        views = [model(pictures.flip(axes)).float().softmax(dim=1).flip(axes) for axes in mirrors]
    return views[0] if len(views) == 1 else torch.stack(views).mean(dim=0)
