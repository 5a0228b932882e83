"""The networks of segmentation-models-pytorch, with any of its encoders (`resnet18`, `mit_b0`, `tu-<name in timm>`)."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ml.networks.contract import Outputs, adaptive_means, covering, padded
from ml.networks.encoders import library
from ml.spec import SpecError


class Smp(nn.Module):
    """Logits of K classes by one of the library's architectures; freshly initialised."""

    def __init__(self, *, architecture: str, channels: int, classes: int, encoder: str = "resnet18") -> None:
        super().__init__()
        try:
            made = library("segmentation_models_pytorch").create_model(
                architecture, encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=classes
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise SpecError(
                f"network: expected an encoder that {architecture} of segmentation-models-pytorch takes, "
                f"got {encoder!r} ({' '.join(str(error).split())[:200]})"
            ) from error
        if architecture == "PSPNet":
            made.decoder.psp.blocks = nn.ModuleList(map(_Window, made.decoder.psp.blocks))
        self._encoder = {"name": encoder, "in_channels": channels, "depth": made.encoder._depth}  # noqa: SLF001
        self.encoder = made.encoder
        self.decoder = made.decoder
        self.head = made.segmentation_head

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The logits, no further heads, and the encoder's maps, those at full size left out."""
        height, width = x.shape[-2:]
        x = padded(x, 32)
        maps = self.encoder(x)
        logits = self.head(self.decoder(maps))[..., :height, :width]
        features = covering(tuple(maps[1:]), size=(height, width), of=(x.shape[-2], x.shape[-1]))
        return Outputs(logits, {}, features)

    def imagenet(self) -> Mapping[str, Tensor]:
        encoders = library("segmentation_models_pytorch").encoders
        weights: Mapping[str, Tensor] = encoders.get_encoder(**self._encoder, weights="imagenet").state_dict()
        return weights


class _Window(nn.Module):
    """The library's `PSPBlock` as it can be exported for any size; theirs only where the cells divide the map."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.cells: int = theirs.pool_size
        self.mix: nn.Module = theirs.pool[1]

    def forward(self, x: Tensor) -> Tensor:
        means = self.mix(adaptive_means(x, self.cells))
        return F.interpolate(means, x.shape[-2:], mode="bilinear", align_corners=True)
