"""Masks and scores of images without a label."""

import io
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ml import reliability
from ml.device import Compute, choose
from ml.embedding import embedding
from ml.facts import FACTS
from ml.facts import write as write_facts
from ml.files import written_whole
from ml.inference import View, load_models, pictures, viewer
from ml.networks import Segmenter
from ml.progress import Pace, Say
from ml.spec import IGNORE, PredictResult, PredictSpec, Progress, Score, SpecError

MASKS = "masks.zip"


def predict(spec: PredictSpec, folder: Path, *, say: Say) -> PredictResult:
    """What was left in `folder`: masks.zip with one palette PNG per sample, and scores in the order of the samples.

    Where they are asked for, facts.npz lies beside it (ml.facts).

    Raises:
        SpecError: the spec cannot be run.
    """
    _check(spec)
    compute = choose(spec.threads, precision=spec.precision)
    models, channels = load_models(spec, folder, compute)
    view = viewer(spec, compute)
    second = _load_second(spec, folder, compute, channels) if spec.second else None
    pace = Pace(len(spec.samples))
    scores: dict[int, Score] = {}
    facts: dict[str, list[Tensor]] = defaultdict(list)
    seen: list[str] = []
    # PNGs are compressed already.
    with written_whole(folder / MASKS) as temporary, ZipFile(temporary, "w", ZIP_STORED) as shard:
        for batch in pictures(spec, folder, channels=channels, masks=False):
            found = torch.stack([view(model, batch.images) for model in models])
            sure, masks = (part.cpu().numpy() for part in found[-1].max(dim=1))
            masks = masks.astype(np.uint8)
            ids = [spec.samples[position].id for position in batch.positions]
            kept = np.where(sure < spec.threshold, IGNORE, masks)
            for name, mask in zip(ids, kept, strict=True):
                shard.writestr(f"{name}.png", palette_png(mask))
            scores |= zip(batch.positions, _scores(ids, found, masks=masks, kept=kept, stable=spec.stable), strict=True)
            if spec.facts:
                seen += ids
                for name, values in _facts(found[-1], models[-1], second, batch.images, view, compute).items():
                    facts[name].append(values.half().cpu())
            if pace.due(len(scores)):
                say(Progress(step=len(scores), steps=len(spec.samples), eta_seconds=pace.eta(len(scores))))
    if spec.facts:
        write_facts(folder / FACTS, seen, {name: torch.cat(values).numpy() for name, values in facts.items()})
    ordered = tuple(scores[position] for position in range(len(spec.samples)))
    return PredictResult(masks=MASKS, scores=ordered, seconds=pace.seconds(), device=str(compute))


def palette_png(mask: NDArray[np.uint8]) -> bytes:
    """An index mask as a PNG that viewers show in colours: those of the Pascal VOC benchmark."""
    image = Image.fromarray(mask)
    image.putpalette(_PALETTE)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _voc_palette() -> bytes:
    """256 colours as R, G, B bytes: the bits of the index, dealt out to the three channels from the top down."""
    bits = np.arange(256)[:, None] >> np.arange(8) & 1  # (256, 8)
    colours = [sum(bits[:, 3 * place + channel] << (7 - place) for place in range(3) if 3 * place + channel < 8)
               for channel in range(3)]  # fmt: skip
    return np.stack(colours, axis=1).astype(np.uint8).tobytes()


_PALETTE = _voc_palette()


def _scores(
    ids: list[str], found: Tensor, *, masks: NDArray[np.uint8], kept: NDArray[np.uint8], stable: str
) -> list[Score]:
    """found: (T, N, K, H, W) float, probabilities by each checkpoint.  masks: (N, H, W) uint8, by the last one.

    kept: the same with 255 where the threshold is not reached.
    """
    classes = found.shape[2]
    confidence = reliability.confidence(found[-1]).tolist()
    uncertainty = reliability.uncertainty(found[-1]).tolist()
    stability = reliability.STABILITIES[stable](found).tolist() if len(found) > 1 else [None] * len(ids)
    return [
        Score(
            id=ids[n],
            member=f"{ids[n]}.png",
            uncertainty=uncertainty[n],
            confidence=confidence[n],
            stability=stability[n],
            reliability=None if stability[n] is None else stability[n] * confidence[n],
            class_pixels=tuple(np.bincount(masks[n].ravel(), minlength=classes).tolist()),
            kept_pixels=tuple(np.bincount(kept[n].ravel(), minlength=classes)[:classes].tolist()),
        )
        for n in range(len(ids))
    ]


def _load_second(spec: PredictSpec, folder: Path, compute: Compute, channels: int) -> Segmenter:
    """The model whose masks are compared.

    Raises:
        SpecError: it takes other pictures.
    """
    (model,), own = load_models(replace(spec, checkpoints=(str(spec.second),)), folder, compute)
    if own != channels:
        raise SpecError("second: expected a model for the same pictures, grey or RGB, got the other; choose another")
    return model


def _facts(  # noqa: PLR0917 - one batch and what is asked about it
    found: Tensor, model: Segmenter, second: Segmenter | None, images: Tensor, view: View, compute: Compute
) -> dict[str, Tensor]:
    """The columns of ml.facts for a batch.  found: (N, K, H, W), probabilities by `model`."""
    facts = {
        "margin": reliability.margin(found),
        "class_uncertainty": reliability.class_uncertainty(found),
        "embedding": embedding(model, images, compute),
    }
    if second is not None:
        masks, others = (one.max(dim=1).indices for one in (found, view(second, images)))
        facts["disagreement"] = reliability.disagreement(masks, others)
    return facts


def _check(spec: PredictSpec) -> None:
    if spec.stable not in reliability.STABILITIES:
        raise SpecError(f"stable: expected one of {', '.join(reliability.STABILITIES)}, got {spec.stable!r}")
    if spec.second and not spec.facts:
        raise SpecError("second: expected facts as well, for they tell how far two models differ; set facts to true")
    if not 0 <= spec.threshold <= 1:
        raise SpecError(f"threshold: expected a probability, got {spec.threshold}; 0 keeps every pixel")
    for sample in spec.samples:
        if "/" in sample.id or "\\" in sample.id or not sample.id:
            raise SpecError(f"samples: expected ids that can name a file, got {sample.id!r}; leave slashes out")
