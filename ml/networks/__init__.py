"""The networks by name, and the wrapper that makes each of them take plain pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ml.networks.attention_unet import AttentionUNet
from ml.networks.contract import Detailed, Outputs
from ml.networks.fast_segformer import FastSegFormer
from ml.networks.lean import LeanNet
from ml.networks.lmffnet import LMFFNet
from ml.networks.mcff_l import MCFFL
from ml.networks.mff_metal import MFFMetal
from ml.networks.ppl import DeepLabV3Plus
from ml.networks.smp import Smp
from ml.networks.swin_attention_unet import SwinAttentionUNet
from ml.networks.transunet import TransUNet
from ml.networks.unet import HalfUNet, UNet
from ml.spec import NetworkSpec, SpecError


@dataclass(frozen=True)
class Architecture:
    """How to make a network, and what of a `NetworkSpec` beside its channels it takes.

    Every network takes pictures of any size. What one exports takes any size as well, or the size it was exported at.
    """

    make: Callable[..., nn.Module]  # (channels=, classes=) and what `takes` names
    takes: frozenset[str] = frozenset()
    exports_any_size: bool = True
    idle: bool = False  # has parameters that the logits do not depend on, with some encoder at least


WIDTH = frozenset({"width"})
ENCODER = frozenset({"encoder"})

NETWORKS: dict[str, Architecture] = {
    "unet": Architecture(UNet, WIDTH),
    "half_unet": Architecture(HalfUNet, WIDTH),
    "lean": Architecture(LeanNet, WIDTH),
    "ppl_resnet18": Architecture(partial(DeepLabV3Plus, resnet="resnet18", stride=32, rates=(12, 24, 36))),
    "ppl_resnet18_mended": Architecture(partial(DeepLabV3Plus, resnet="resnet18", stride=8, rates=(6, 12, 18))),
    "ppl_resnet50": Architecture(partial(DeepLabV3Plus, resnet="resnet50", stride=8, rates=(12, 24, 36))),
    "mff_metal": Architecture(MFFMetal, WIDTH),
    "mff_metal_teacher": Architecture(partial(MFFMetal, width=180)),
    "fast_segformer_e": Architecture(partial(FastSegFormer, variant="E"), idle=True),
    "fast_segformer_p": Architecture(partial(FastSegFormer, variant="P"), idle=True),
    "swin_attention_unet": Architecture(SwinAttentionUNet),
    "mcff_l": Architecture(MCFFL, WIDTH),
    "mcff_l_teacher": Architecture(partial(MCFFL, width=64, blocks=8, dropout=0.5)),
    "attention_unet": Architecture(AttentionUNet, WIDTH),
    "transunet": Architecture(TransUNet, WIDTH),
    "lmffnet": Architecture(LMFFNet, WIDTH),
    "smp_unet": Architecture(partial(Smp, architecture="Unet"), ENCODER, idle=True),
    "smp_unetplusplus": Architecture(partial(Smp, architecture="UnetPlusPlus"), ENCODER, idle=True),
    "smp_fpn": Architecture(partial(Smp, architecture="FPN"), ENCODER, idle=True),
    "smp_pspnet": Architecture(partial(Smp, architecture="PSPNet"), ENCODER, idle=True),
    "smp_deeplabv3plus": Architecture(partial(Smp, architecture="DeepLabV3Plus"), ENCODER, idle=True),
    "smp_segformer": Architecture(partial(Smp, architecture="Segformer"), ENCODER, idle=True),
}


def build(spec: NetworkSpec, classes: int) -> nn.Module:
    """A freshly initialised network; `classes` is K, background included. It takes normalised input."""
    if spec.name not in NETWORKS:
        raise SpecError(f"network: expected one of {', '.join(NETWORKS)}, got {spec.name!r}")
    if spec.channels not in {1, 3} or (spec.width is not None and spec.width < 1):
        raise SpecError(
            f"network: expected 1 or 3 channels and a width of at least 1, "
            f"got {spec.channels} channels and width {spec.width}"
        )
    architecture = NETWORKS[spec.name]
    given = {name: value for name in ("width", "encoder") if (value := getattr(spec, name)) is not None}
    if strange := sorted(given.keys() - architecture.takes):
        raise SpecError(f"network: expected no {' and no '.join(strange)}, {spec.name} has its own; leave it out")
    return architecture.make(channels=spec.channels, classes=classes, **given)


def outputs(network: nn.Module, x: Tensor) -> Outputs:
    """All that a network says of x; of one with nothing to add, the logits."""
    return network.outputs(x) if isinstance(network, Detailed) else Outputs(network(x), {}, ())


class Segmenter(nn.Module):
    """A network with its input normalisation inside, so that everybody else deals in pictures of range [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        # Not persistent: the checkpoint keeps them as plain facts beside the weights.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor, *, detailed: bool = False) -> Tensor | Outputs:
        """images: (N, C, H, W) float in [0, 1].  Returns (N, K, H, W) logits, or all that the network says.

        Both through here: several processes share the gradients of a call to `forward`, and of nothing else.
        """
        normalised = (images - self.mean) / self.std
        return outputs(self.network, normalised) if detailed else cast("Tensor", self.network(normalised))
