"""Weights that the authors of a network saved with their own code, opened by a renaming of their tensors.

Nothing is converted: every tensor of the file becomes exactly one of ours, of the same shape, or the file is refused.
The names are those of the repositories at the top of the networks' own files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ml.checkpoint import Facts, filled
from ml.networks import Segmenter
from ml.spec import NetworkSpec, SpecError

CHANNELS = 3  # all of them were trained on RGB
WRAPPERS = ("state_dict", "model")  # what a training state calls the weights in it

Colour = tuple[float, float, float]
_IMAGENET: tuple[Colour, Colour] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR10: tuple[Colour, Colour] = (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)


@dataclass(frozen=True)
class Layout:
    """How a published network calls its tensors, and what it was shown: (value - mean) / std of RGB in [0, 1]."""

    renamings: tuple[tuple[str, str], ...]  # regular expressions and what takes their place, one after the other
    mean: Colour
    std: Colour


_PPL = Layout(
    (
        (r"^backbone\.", "encoder."),
        (r"^head\.b0\.", "surroundings.near."),
        *((rf"^head\.b{n}\.", f"surroundings.far.{n - 1}.") for n in (1, 2, 3)),
        (r"^head\.b4\.gap\.1\.", "surroundings.whole.1.0."),
        (r"^head\.b4\.gap\.2\.", "surroundings.whole.1.1."),
        (r"^head\.project\.", "surroundings.project.0."),
        (r"^fuse\.([01])\.", r"fuse.0.\1."),
        (r"^fuse\.3\.", "fuse.1.0."),
        (r"^fuse\.4\.", "fuse.1.1."),
        (r"^classifier\.", "classify."),
    ),
    *_IMAGENET,
)

_UNIT = r"(init_conv\.\d|_\d\d\.(?:\w+\.)?conv3x3|dconv_\w+|DwConv\d)"  # convolutions that carry a normalisation
_MFF_METAL = Layout(
    (
        # A convolution with its normalisation, one without, and a normalisation alone.
        (rf"{_UNIT}\.conv\.", r"\1.0."),
        (rf"{_UNIT}\.bn_prelu\.bn\.", r"\1.1."),
        (rf"{_UNIT}\.bn_prelu\.acti\.", r"\1.2."),
        (r"\.conv\.", "."),
        (r"(bn_prelu|bn_relu_1)\.bn\.", r"\1.0."),
        (r"(bn_prelu|bn_relu_1)\.acti\.", r"\1.1."),
        (r"^Init_Block\.init_conv\.", "stem."),
        (r"^downsample_(\d)\.conv3x3\.", r"down.\1.convolve."),
        (r"^downsample_(\d)\.bn_prelu\.", r"down.\1.normalise."),
        (r"^SEM_B_Block\d\.SEM_B_Block\.SEM_Block_(\d)(\d)\.", r"blocks.\1.\2."),
        (r"\.conv3x3_resume\.conv3x3\.", ".widen.0."),
        (r"\.conv3x3_resume\.conv1x1_resume\.", ".widen.1."),
        (r"^(blocks.*)\.conv3x3\.", r"\1.narrow."),
        *((rf"\.dconv_{side}\.", f".branches.{n}.") for n, side in enumerate(("left", "middle", "right"))),
        (r"\.bn_relu_1\.", ".normalise."),
        (r"^FFM_B(\d)\.PMCA\.conv2x2\.", r"fuse.\1.attend.of_quarters."),
        (r"^FFM_B(\d)\.PMCA\.SE_Block\.fc\.", r"fuse.\1.attend.weigh."),
        (r"^FFM_B(\d)\.bn_prelu\.", r"fuse.\1.merge.0."),
        (r"^FFM_B(\d)\.conv1x1\.", r"fuse.\1.merge.1."),
        (r"^MAD\.max_re48\.", "coarse."),
        (r"^MAD\.max_re24\.", "fine."),
        (r"\.mid_layer_1x1\.", ".of_finer."),
        (r"\.deep_layer_1x1\.", ".of_deeper."),
        (r"\.scale_atten\.", ".score."),
        (r"\.DwConv1\.", ".gate.0."),
        (r"\.PwConv1\.", ".gate.1."),
        (r"\.DwConv2\.", ".classify.0."),
        (r"\.PwConv2\.", ".classify.1."),
    ),
    *_CIFAR10,
)

_FAST_SEGFORMER_P = Layout(
    (
        (r"^common_backbone\.patch_embed\.proj\.", "encoder.stem.conv."),
        *((rf"^common_backbone\.network\.{2 * n}\.", f"encoder.stages_{n}.blocks.") for n in range(4)),
        *(
            (rf"^common_backbone\.network\.{2 * n - 1}\.proj\.", f"encoder.stages_{n}.downsample.conv.")
            for n in (1, 2, 3)
        ),
        *((rf"^common_backbone\.norm{2 * n}\.", f"normalise.{n}.") for n in range(4)),
        (r"\.layer_scale_([12])$", r".layer_scale\1.scale"),
        (r"^convert_channel\.conv\.", "deep.0."),
        *((rf"^global_feature\.bottleneck1\.{n}\.block\.", f"deep.{n + 1}.body.") for n in (0, 1)),
        (r"\.body\.0\.conv\.", ".body.0."),
        (r"\.body\.3\.", ".body.5."),
        (r"\.body\.2\.", ".body.4."),
        (r"\.body\.1\.conv\.1\.", ".body.2."),
        (r"\.body\.1\.conv\.0\.", ".body.1."),
        *((rf"^global_feature\.ppm\.conv{n + 1}\.conv\.", f"deep.3.windows.{n}.0.") for n in range(4)),
        *((rf"^global_feature\.ppm\.conv{n + 5}\.conv\.", f"deep.3.windows.{n}.1.") for n in range(4)),
        (r"^global_feature\.ppm\.out\.conv\.", "deep.3.merge."),
        (r"^FFM\.dwconv\.conv\.", "from_deep."),
        (r"^FFM\.conv_lower_res\.0\.", "from_deep.3."),
        (r"^FFM\.conv_lower_res\.1\.", "from_deep.4."),
        (r"^FFM\.conv_higher_res\.", "from_second."),
        (r"^classify\.dsconv1\.conv\.", "describe.0."),
        (r"^classify\.dsconv2\.conv\.", "describe.1."),
        (r"^classify\.conv\.1\.", "describe.3."),
        (r"^cnn1\.", "picture."),
        (r"^cnn2\.conv\.", "refine."),
        (r"^cnn_up\.1\.", "classify."),
    ),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)

_SMP = Layout(
    (
        (r"^segmentation_head\.", "head."),
        (r"^decoder\.psp\.blocks\.(\d)\.pool\.1\.", r"decoder.psp.blocks.\1.mix."),
    ),
    *_IMAGENET,
)

# `ppl_resnet18_mended` is not among them: the weights would fit, at a stride and rates they were not trained for.
LAYOUTS: dict[str, Layout] = {
    "ppl_resnet18": _PPL,
    "ppl_resnet50": _PPL,
    "mff_metal": _MFF_METAL,
    "mff_metal_teacher": _MFF_METAL,
    "fast_segformer_p": _FAST_SEGFORMER_P,
    "smp_unet": _SMP,
    "smp_unetplusplus": _SMP,
    "smp_fpn": _SMP,
    "smp_pspnet": _SMP,
    "smp_deeplabv3plus": _SMP,
    "smp_segformer": _SMP,
}


def adopt(
    file: Path, network: NetworkSpec, classes: tuple[str, ...], *, mean: Colour | None = None, std: Colour | None = None
) -> tuple[Segmenter, Facts]:
    """The model in evaluation mode, with the facts to save it by.

    classes: the defect classes, in the order of the file's outputs behind the background.  mean, std: what the weights
    were trained with, where it is not what was published.

    Raises:
        SpecError: the network was published in no layout known here, or the file does not hold its weights.
    """
    if network.name not in LAYOUTS:
        raise SpecError(f"network: expected one of {', '.join(LAYOUTS)}, got {network.name!r}")
    layout = LAYOUTS[network.name]
    facts = Facts(network, classes, mean or layout.mean, std or layout.std)
    names = f"{len(classes) + 1} outputs ({', '.join(('background', *classes))})"
    otherwise = f"check network, width, encoder and classes: here there are {names}"
    return filled(facts, renamed(_weights(file), layout), file=f"published weights {file}", otherwise=otherwise), facts


def renamed(weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The same tensors under our names, one for one."""
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = name
        for theirs, instead in layout.renamings:
            ours = re.sub(theirs, instead, ours)
        if ours in found:
            raise SpecError(f"published weights: expected one tensor for {ours}, got two, the second called {name}")
        found[ours] = value
    return found


def _weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, also where they lie in the state of a training, or DataParallel named them."""
    content = _read(file)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise SpecError(
            f"published weights {file}: expected tensors by name, alone or as {' or '.join(WRAPPERS)}, got none; "
            "save model.state_dict() with the code that wrote it"
        )
    parallel = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if parallel else name: value for name, value in content.items()}


def _read(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SpecError(f"published weights {file}: no such file") from None
    except Exception as error:  # torch has a dozen of them for a file that it cannot or will not read
        why = " ".join(str(error).split())[:200]
        raise SpecError(
            f"published weights {file}: expected tensors and plain numbers, got a whole module, code or no such file "
            f"at all, of which nothing is run ({why}); save model.state_dict() with the code that wrote it"
        ) from error
