"""Encoders of timm and segmentation-models-pytorch, and what they begin with.

Both libraries are imported when such a network is built, never before: they take seconds.
"""

import functools
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ml.spec import SpecError


@runtime_checkable
class Pretrainable(Protocol):
    """A network whose encoder has weights from ImageNet, somewhere."""

    encoder: nn.Module

    def imagenet(self) -> Mapping[str, Tensor]:
        """The weights of `encoder`, fetched or from the library's cache; raises what the library raises."""
        ...


def begin(network: nn.Module, weights: Path | None = None) -> str:
    """What the encoder begins with, in words for the run record: the weights of a file, those of ImageNet, or nothing.

    weights: a state dict of the encoder; without one ImageNet's, where this machine has them or can fetch them.

    Raises:
        SpecError: there is no encoder that the file could be for, or it does not fit.
    """
    if not isinstance(network, Pretrainable):
        if weights:
            raise SpecError(f"encoder weights {weights}: this network has no encoder of that kind; leave them out")
        return "from scratch: there are no ImageNet weights for this network"
    if weights:
        _load(network.encoder, weights)
        return f"encoder: weights of {weights}"
    try:
        fetched = network.imagenet()
    except Exception as error:  # noqa: BLE001 - every library and every broken line has errors of its own
        return f"from scratch: ImageNet weights could not be fetched ({_short(error)})"
    network.encoder.load_state_dict(fetched, strict=True)
    return "encoder: ImageNet weights"


def timm_encoder(name: str, *, channels: int, pretrained: bool = False, **options: Any) -> Any:
    """A module that gives the feature maps of a timm network as a list, and timm's `feature_info` about them."""
    return library("timm").create_model(name, in_chans=channels, features_only=True, pretrained=pretrained, **options)


def library(name: str) -> Any:
    """The module `timm` or `segmentation_models_pytorch`."""
    _import_torchvision()
    return importlib.import_module(name)


def _load(encoder: nn.Module, weights: Path) -> None:
    try:
        encoder.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    except Exception as error:
        raise SpecError(
            f"encoder weights {weights}: expected a state dict of this encoder, got {_short(error)}; "
            "save one with torch.save(encoder.state_dict(), ...)"
        ) from error


def _import_torchvision() -> None:
    """Import torchvision, also where its compiled part belongs to a CUDA torch and ours is a CPU one.

    There its operators are missing, and the first one it describes stops the import. Declared, they may stay missing:
    nothing here detects boxes.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_detection()
        importlib.import_module("torchvision")


@functools.cache  # which also keeps it alive: the declarations end with their library
def _declare_detection() -> torch.library.Library:
    operators = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        operators.define(schema)  # type: ignore[no-untyped-call]
    return operators


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
