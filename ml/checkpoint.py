"""Weights on disk, with the facts needed to use them: network, classes, input normalisation."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ml.files import written_whole
from ml.networks import Segmenter, build
from ml.spec import NetworkSpec, SpecError, from_json

FORMAT = 1  # raised when the content changes


@dataclass(frozen=True)
class Facts:
    """What a checkpoint knows beside its weights; mean and std per channel, in units of [0, 1]."""

    network: NetworkSpec
    classes: tuple[str, ...]  # defect classes; the network has one output more, for background
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def fresh(self) -> Segmenter:
        """A newly initialised model, drawn from torch's global generator."""
        return Segmenter(build(self.network, len(self.classes) + 1), mean=self.mean, std=self.std)


def save(model: Segmenter, facts: Facts, path: Path) -> None:
    """Write weights and facts, whole or not at all."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
    # Into an open file: given a path, torch says of a full disk "unexpected pos 576 vs 534".
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save({"format": FORMAT, "facts": asdict(facts), "weights": weights}, file)


def load(path: Path, *, classes: tuple[str, ...]) -> tuple[Segmenter, Facts]:
    """The model in evaluation mode, with its facts.

    Raises:
        SpecError: the file is missing or no checkpoint, its weights are of another network or no numbers, or it knows
            other classes than `classes`.
    """
    content = _read(path)
    facts = from_json(Facts, json.dumps(content["facts"]))
    if facts.classes != classes:
        raise SpecError(
            f"checkpoint {path}: expected classes {', '.join(classes)}, got {', '.join(facts.classes)}; "
            "use a model that was trained for these classes"
        )
    otherwise = "use the version that wrote it, or train again"
    return filled(facts, content["weights"], file=f"checkpoint {path}", otherwise=otherwise), facts


def filled(facts: Facts, weights: Mapping[str, Tensor], *, file: str, otherwise: str) -> Segmenter:
    """The model of these facts in evaluation mode with exactly these weights.

    file, otherwise: where they are from and what to do when they do not fit, in the words of an error.

    Raises:
        SpecError: they are the weights of another network, or no numbers.
    """
    model = facts.fresh()
    try:
        model.network.load_state_dict(weights, strict=True)
    except RuntimeError as error:  # torch lists every name that is missing, unexpected, or of another shape
        why = " ".join(str(error).split())
        raise SpecError(
            f"{file}: expected the weights of {facts.network.name}, got others ({why[:300]}); {otherwise}"
        ) from error
    if strange := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise SpecError(f"{file}: expected numbers, got weights that are none ({', '.join(strange[:3])}); train again")
    return model.eval()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SpecError(f"checkpoint {path}: no such file; check the paths in spec.json") from None
    except Exception as error:  # torch has a dozen of them for a broken file
        raise SpecError(f"checkpoint {path}: not a checkpoint ({error}); train again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SpecError(
            f"checkpoint {path}: expected a checkpoint of format {FORMAT}, got another file; train again with this "
            "version, or `python -m ml adopt` it, if its weights are of a published network"
        )
    return dict(content)
