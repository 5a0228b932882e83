"""What prediction and evaluation share: models from checkpoints, and class probabilities of pictures."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from itertools import product
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml import checkpoint, data
from ml.device import PRECISIONS, Compute
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
    if not (spec.scales and all(0.1 <= scale <= 10 for scale in spec.scales)):
        raise SpecError(f"scales: expected one or more from 0.1 to 10, got {spec.scales}; (1.0,) is the plain image")
    if not ((spec.window == 0 or spec.window >= 32) and 0 <= spec.overlap < 1):
        raise SpecError(
            f"window, overlap: expected 0 or 32 pixels and more, and a share below 1, "
            f"got {spec.window} and {spec.overlap}; the crop of the training is a good window"
        )
    if spec.precision not in {"auto", *PRECISIONS}:
        raise SpecError(f"precision: expected auto, {', '.join(PRECISIONS)}, got {spec.precision!r}")
    pairs = [checkpoint.load(folder / name, classes=spec.classes) for name in spec.checkpoints]
    channels = {facts.network.channels for _, facts in pairs}
    if len(channels) > 1:
        raise SpecError("checkpoints: expected all for grey or all for RGB pictures, got both; run them apart")
    return [compute.place(model) for model, _ in pairs], channels.pop()


def pictures(spec: PredictSpec | EvaluateSpec, folder: Path, *, channels: int, masks: bool) -> Iterator[data.SameSize]:
    """The samples of a spec in its batches; one by one where a window slides, for its cuts are the batch."""
    return data.in_batches(
        spec.samples, folder, channels=channels, classes=len(spec.classes) + 1, masks=masks,
        batch=1 if spec.window else spec.batch, cache=spec.cache,
    )  # fmt: skip


View = Callable[[Segmenter, Tensor], Tensor]  # `probabilities` with its options chosen


def viewer(spec: PredictSpec | EvaluateSpec, compute: Compute) -> View:
    """`probabilities` as the spec wants them."""
    return partial(
        probabilities, compute=compute, flip=spec.flip, scales=spec.scales, window=spec.window, overlap=spec.overlap,
        at_once=spec.batch,
    )  # fmt: skip


def probabilities(
    model: Segmenter,
    images: Tensor,
    *,
    compute: Compute,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    window: int = 0,
    overlap: float = 0.5,
    at_once: int = 16,
) -> Tensor:
    """(N, K, H, W) float32 in [0, 1], on the device.

    images: (N, C, H, W) uint8.  flip: average over the pictures and their three mirror images.  scales: and over their
    sizes.  window: pictures larger than this many pixels are shown in windows, about `at_once` of them at a time.

    Raises:
        ArithmeticError: the model answers with what is no number.
    """
    pictures = images.to(compute.device).float().div(255).contiguous(memory_format=torch.channels_last)
    mirrors: list[list[int]] = [[], [-1], [-2], [-2, -1]] if flip else [[]]
    show = partial(_shown, model, window=window, overlap=overlap, at_once=at_once)
    size = list(pictures.shape[-2:])
    with torch.inference_mode(), compute.autocast():
        sized = (_resized(pictures, [max(1, round(scale * side)) for side in size]) for scale in scales)
        total = reduce(
            torch.add,
            (_resized(_mirrored(show(_mirrored(one, axes)), axes), size) for one in sized for axes in mirrors),
        )
    # argmax makes background of it without a word. One number that is none spoils the sum.
    if not total.sum().isfinite():
        raise ArithmeticError(
            "expected probabilities, got what is no number; train the model again, or compute in fp32"
        )
    return total / (len(scales) * len(mirrors))


def _shown(model: Segmenter, pictures: Tensor, *, window: int, overlap: float, at_once: int) -> Tensor:
    """Class probabilities of pictures (N, C, H, W), those of overlapping windows blended into one another."""
    count, _, height, width = pictures.shape
    if not window or max(height, width) <= window:
        return cast("Tensor", model(pictures).float().softmax(dim=1))
    rows, columns = min(window, height), min(window, width)
    corners = list(product(_starts(height, window, overlap), _starts(width, window, overlap)))
    # A network knows least at the edge of what it sees.
    hill = _hill(rows, pictures.device)[:, None] * _hill(columns, pictures.device)
    total, weight = torch.zeros((), device=pictures.device), torch.zeros(height, width, device=pictures.device)
    share = max(1, at_once // count)
    for some in (corners[i : i + share] for i in range(0, len(corners), share)):
        places = [(..., slice(top, top + rows), slice(left, left + columns)) for top, left in some]
        found = model(torch.cat([pictures[place] for place in places])).float().softmax(dim=1) * hill
        if not total.ndim:
            total = torch.zeros(count, found.shape[1], height, width, device=pictures.device)
        for place, one in zip(places, found.split(count), strict=True):
            total[place] += one
            weight[place] += hill
    return total / weight


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin: evenly, from edge to edge, as few as overlap by that share at least."""
    room = max(0, length - window)
    count = math.ceil(room / max(1.0, window * (1 - overlap)))
    return [round(room * place / max(1, count)) for place in range(count + 1)]


def _hill(length: int, device: torch.device) -> Tensor:
    """(length,) above 0, highest in the middle."""
    return torch.hann_window(length + 2, periodic=False, device=device)[1:-1]


def _mirrored(pictures: Tensor, axes: list[int]) -> Tensor:
    return pictures.flip(axes) if axes else pictures  # without axes, flip copies


def _resized(pictures: Tensor, size: list[int]) -> Tensor:
    if list(pictures.shape[-2:]) == size:
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=size[0] < pictures.shape[-2])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Batch normalisation by its running figures, so that looking at pictures leaves no trace in them."""
    training = [module for module in model.modules() if module.training]  # a frozen encoder is not
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
