"""What a student learns from a teacher: pure functions on logits and feature maps, in units of a mean.

Where sizes differ the teacher's maps are brought to the student's. The teacher never gets a gradient. `counted`,
(N, H, W) bool at the size of the student's logits, says which pixels count.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml.losses import squared_error
from ml.networks.contract import Outputs
from ml.spec import IGNORE


def kl(student: Tensor, teacher: Tensor, counted: Tensor, *, temperature: float = 1.0) -> Tensor:
    """T^2 times the mean over counted pixels of KL(teacher || student), both at temperature T.

    student, teacher: (N, K, H, W) logits.  With T^2 the gradient keeps its size whatever T.

    Source: Hinton et al., Distilling the knowledge (2015); MFF-Metal, train.py@a6de3d8, line 190. Changed: T^2, and a
    mean over pixels (there T = 0.7 without T^2, and a sum, 15 times heavier than it looks beside its other terms).
    """
    told = (_resized(teacher.detach(), student) / temperature).log_softmax(dim=1)
    said = (student / temperature).log_softmax(dim=1)
    divergence = F.kl_div(said, told, log_target=True, reduction="none").sum(dim=1)
    return temperature**2 * _mean(divergence, counted)


def pixels_and_kl(
    student: Tensor, teacher: Tensor, counted: Tensor, *, temperature: float = 2.0, share: float = 0.5
) -> Tensor:
    """What `kl` gives times `share`, and the squared difference of the logits times the rest, as means over pixels.

    Source: FastSegFormer (2024), P&KL loss; utils/distillation_loss.py@8f673e0, line 45. Changed: both parts are means
    over pixels, as the paper has it (there the second one is divided by their number once more: 50,176 at 224).
    """
    differences = ((student - _resized(teacher.detach(), student)) ** 2).mean(dim=1)
    return share * kl(student, teacher, counted, temperature=temperature) + (1 - share) * _mean(differences, counted)


def projections(student_channels: Iterable[int], teacher_channels: Iterable[int]) -> nn.ModuleList:
    """For every pair of maps what brings the student's channels to the teacher's; to be trained with the student."""
    pairs = zip(student_channels, teacher_channels, strict=True)
    return nn.ModuleList(nn.Conv2d(mine, theirs, 1) if mine != theirs else nn.Identity() for mine, theirs in pairs)


def normalised_features(student: Iterable[Tensor], teacher: Iterable[Tensor], counted: Tensor) -> Tensor:
    """Sum over the pairs of maps of the mean squared difference between them, each normalised by channel and image.

    student, teacher: maps (N, C, h, w), pair by pair, the student's behind `projections`; a cell counts when all its
    pixels do.

    Source: FastSegFormer (2024), NFD loss; utils/distillation_loss.py@8f673e0, line 10. Changed: as the paper has it,
    the maps are normalised and all pairs count (there they are not, and the last pair overwrites the others); the
    projections are learnt (there new and random at every step); the mean square instead of the norm over h * w, which
    grows with the root of the channels and shrinks with that of the map.
    """
    total = counted.new_zeros((), dtype=torch.float32)
    for mine, theirs in zip(student, teacher, strict=True):
        cells = _cells(counted, mine)
        told = _normalised(_resized(theirs.detach(), mine), cells)
        differences = (_normalised(mine, cells) - told) ** 2
        total = total + _mean(differences.mean(dim=1), cells)
    return total


def channels(student: Tensor, teacher: Tensor, counted: Tensor, *, temperature: float = 4.0) -> Tensor:
    """T^2 times the mean over images and channels of KL(teacher || student) between their maps of where they respond.

    student, teacher: (N, C, h, w), of equally many channels: logits, or maps after a projection. Every channel becomes
    a distribution over the counted cells. An image without any counts as zero.

    Source: Shu et al., Channel-wise knowledge distillation (2021), eq. 2-3. Changed: ignore mask.
    """
    cells = _cells(counted, student).flatten(1)[:, None]  # (N, 1, h*w)
    told = _over_places(_resized(teacher.detach(), student) / temperature, cells)
    said = _over_places(student / temperature, cells)
    divergence = (F.kl_div(said, told, log_target=True, reduction="none") * cells).sum(dim=2)
    return temperature**2 * divergence.mean()


@dataclass(frozen=True)
class Temperatures:
    """Of MCFF-L's label distillation: how soft the hard label, the outputs and the mixed output against the label."""

    label: float  # 0 = the label as it is
    outputs: float
    mixed: float


STRATEGIES = {
    "standard": Temperatures(label=0, outputs=10, mixed=1),
    "hyperthermal": Temperatures(label=10, outputs=10, mixed=10),
    "non_isothermal": Temperatures(label=0, outputs=10, mixed=10),
}


def label_distillation(
    student: Outputs,
    teacher: Outputs,
    target: Tensor,
    counted: Tensor,
    *,
    temperatures: Temperatures,
    alpha: float = 200.0,
) -> Tensor:
    """MCFF-L's loss of a student: every output against the teacher's softened one, the mixed one against the label too.

    student, teacher: the teacher with the student's heads at least.  target: (N, H, W) int64 in 0..K-1, 255 = ignore;
    there the teacher counts all the same where `counted` says so, as in an unlabelled image.

    Source: MCFF-L Net, Train_3_Step.py and Segmentation_with_Three_Channels.py@861c3e5. Changed: the teacher's answers
    are taken as they are (there from pictures of 8 bits, which leave some sixty levels at T = 10); ignore mask.
    """
    labelled = target != IGNORE
    label = F.one_hot(target.where(labelled, 0), student.logits.shape[1]).movedim(-1, 1).to(student.logits.dtype)
    if temperatures.label:
        label = (label / temperatures.label).softmax(dim=1)
    said, told = {**student.heads, "": student.logits}, {**teacher.heads, "": teacher.logits}
    wanted = {name: _resized(told[name].detach(), one) for name, one in said.items()}
    soft = [
        squared_error(_soft(said[name], temperatures.outputs), _soft(wanted[name], temperatures.outputs),
                      counted, alpha=alpha)
        for name in said
    ]  # fmt: skip
    hard = squared_error(_soft(student.logits, temperatures.mixed), label, labelled, alpha=alpha)
    return hard + torch.stack(soft).sum()


@dataclass(frozen=True)
class Kind:
    """A loss as a `Lesson` of `ml.spec` names it."""

    compare: Callable[..., Tensor]  # (student's Outputs, teacher's Outputs, target, counted, **what `takes` names)
    takes: frozenset[str] = frozenset({"temperature"})
    heads: bool = False  # looks at further heads
    features: bool = False  # looks at maps, pair by pair, the student's behind projections


def _of_logits(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def compare(said: Outputs, told: Outputs, _: Tensor, counted: Tensor, **options: float) -> Tensor:
        return loss(said.logits, told.logits, counted, **options)

    return compare


def _of_features(said: Outputs, told: Outputs, _: Tensor, counted: Tensor) -> Tensor:
    return normalised_features(said.features, told.features, counted)


def _of_feature_channels(said: Outputs, told: Outputs, _: Tensor, counted: Tensor, **options: float) -> Tensor:
    pairs = zip(said.features, told.features, strict=True)
    return torch.stack([channels(mine, theirs, counted, **options) for mine, theirs in pairs]).sum()


def _of_labels(said: Outputs, told: Outputs, target: Tensor, counted: Tensor, *, strategy: str = "standard") -> Tensor:
    return label_distillation(said, told, target, counted, temperatures=STRATEGIES[strategy])


LESSONS: dict[str, Kind] = {
    "kl": Kind(_of_logits(kl)),
    "pixels_and_kl": Kind(_of_logits(pixels_and_kl), frozenset({"temperature", "share"})),
    "channels": Kind(_of_logits(channels)),
    "normalised_features": Kind(_of_features, frozenset(), features=True),
    "feature_channels": Kind(_of_feature_channels, features=True),
    "labels": Kind(_of_labels, frozenset({"strategy"}), heads=True),
}


def _soft(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=1)


def _over_places(maps: Tensor, cells: Tensor) -> Tensor:
    """Logarithms of a distribution over the counted cells, per image and channel: (N, C, h*w); zero elsewhere."""
    # Finite, or an image without a counted cell would turn gradients into NaN.
    lowest = torch.finfo(maps.dtype).min
    return maps.flatten(2).masked_fill(~cells, lowest).log_softmax(dim=2).masked_fill(~cells, 0)


def _normalised(maps: Tensor, cells: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the counted cells, per image and channel."""
    weights = cells[:, None].to(maps.dtype)
    count = weights.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    centred = maps - (maps * weights).sum(dim=(2, 3), keepdim=True) / count
    variance = (centred**2 * weights).sum(dim=(2, 3), keepdim=True) / count
    return centred * (variance + 1e-5).rsqrt()


def _cells(counted: Tensor, maps: Tensor) -> Tensor:
    """(N, h, w) bool: the cells of a map all of whose pixels count."""
    return F.adaptive_max_pool2d((~counted)[:, None].float(), maps.shape[-2:])[:, 0] == 0


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)


def _mean(each: Tensor, counted: Tensor) -> Tensor:
    """Mean of (N, H, W) over what counts; zero (with a gradient of zero) when there is nothing."""
    return (each * counted).sum() / counted.sum().clamp_min(1)
