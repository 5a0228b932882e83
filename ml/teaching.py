"""Distillation as a training step: teachers that answer, and a student that shows what the lessons compare.

Teacher and student see the same weak view of every image: a teacher that is asked about another view, or only once,
teaches noise (Beyer et al., A good teacher is patient and consistent, 2022).
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ml import checkpoint
from ml.data import Loaded
from ml.device import Compute
from ml.distillation import LESSONS, STRATEGIES, projections
from ml.networks import Segmenter
from ml.networks.contract import Outputs
from ml.spec import IGNORE, DistilSpec, Lesson, SpecError, TrainSpec
from ml.steps import Batch, Step

_PROBE = 64  # pixels of the picture that shows what maps a network has
_LEAST = 2.0**-24  # the smallest probability that half a float tells from none
_LUMA = (0.299, 0.587, 0.114)  # as Pillow makes grey of RGB
_OPTIONS = ("temperature", "share", "strategy")


def begin(
    spec: TrainSpec, folder: Path, model: Segmenter, streams: Sequence[Loaded], compute: Compute
) -> tuple[nn.Module, Step, list[Loaded]]:
    """The module to train, its step, and the streams with what the teachers say of them where that is asked for once.

    streams: labelled, pseudo-labelled and unlabelled samples.

    Raises:
        SpecError: a teacher does not fit the classes, the student or the lessons.
    """
    distil = _given(spec)
    teachers = Teachers.load(distil, folder, classes=spec.classes, compute=compute)
    said, *told = (
        _probe(one, channels, compute)
        for one, channels in zip((model, *teachers.models), (spec.network.channels, *teachers.channels), strict=True)
    )
    heads, pairs = _heads(distil, said, told), _pairs(distil, said, told[0])
    student = Student(model, heads, [mine for mine, _ in pairs], _projections(said, told[0], pairs, seed=spec.seed))
    known = list(streams)
    if distil.cached:
        known = [_asked_once(one, teachers, heads, folder=folder, compute=compute) for one in known]
    return student.to(compute.device), _step(spec, teachers, heads, [theirs for _, theirs in pairs]), known


def check(spec: TrainSpec) -> None:
    """Raises SpecError when its distillation cannot be run, whatever its files hold."""
    distil = _given(spec)
    if spec.step != "supervised":
        raise SpecError(f"step: expected supervised beside distil, which has a step of its own, got {spec.step!r}")
    if not distil.teachers or not distil.lessons:
        raise SpecError("distil: expected at least one teacher and one lesson, got none; name a checkpoint")
    # A number that is none fulfils no comparison.
    scales = distil.teacher_scale, distil.student_scale
    if not all(0 < scale < math.inf for scale in scales) or not 0 <= distil.label_weight < math.inf:
        raise SpecError(
            f"distil: expected scales above 0 and a label_weight of at least 0, got {scales} and {distil.label_weight}"
        )
    for lesson in distil.lessons:
        _check_lesson(lesson)
    if any(LESSONS[lesson.loss].features for lesson in distil.lessons) and (distil.cached or len(distil.teachers) > 1):
        raise SpecError("distil: lessons on features need one teacher who is asked at every step; leave them out")


@dataclass(frozen=True)
class Teachers:
    """Models that answer together."""

    models: tuple[Segmenter, ...]
    channels: tuple[int, ...]  # of the pictures that each of them takes
    classes: int  # background included
    scale: float

    @classmethod
    def load(cls, distil: DistilSpec, folder: Path, *, classes: tuple[str, ...], compute: Compute) -> "Teachers":
        pairs = [checkpoint.load(folder / name, classes=classes) for name in distil.teachers]
        return cls(
            models=tuple(compute.place(model).requires_grad_(requires_grad=False) for model, _ in pairs),
            channels=tuple(facts.network.channels for _, facts in pairs),
            classes=len(classes) + 1,
            scale=distil.teacher_scale,
        )

    @torch.no_grad()
    def answer(self, pictures: Tensor) -> Outputs:
        """What one teacher says; of several the mean of their probabilities, as logits, and no maps.

        pictures: (N, C, H, W) float in [0, 1], at the scale of the crop.
        """
        said = [
            model(scaled(_with_channels(pictures, channels), self.scale), detailed=True)
            for model, channels in zip(self.models, self.channels, strict=True)
        ]
        if len(said) == 1:
            return _in_float(said[0])
        shared = set.intersection(*(set(one.heads) for one in said))
        heads = {name: _mean_of([one.heads[name] for one in said]) for name in shared}
        return Outputs(_mean_of([one.logits for one in said]), heads, ())


class Student(nn.Module):
    """A model that shows what the lessons look at, and nothing else, with projections that are trained along with it.

    Both through one `forward`: several processes share the gradients of no other.
    """

    def __init__(self, model: Segmenter, heads: Sequence[str], maps: Sequence[int], project: nn.ModuleList) -> None:
        super().__init__()
        self.model = model
        self.project = project
        self.heads = tuple(heads)
        self.maps = tuple(maps)

    def forward(self, pictures: Tensor) -> Outputs:
        said = self.model(pictures, detailed=True)
        features = tuple(bring(said.features[place]) for place, bring in zip(self.maps, self.project, strict=True))
        return Outputs(said.logits, {name: said.heads[name] for name in self.heads}, features)


def scaled(images: Tensor, scale: float) -> Tensor:
    """(N, C, H, W) with its sides times `scale`, smoothed where it shrinks."""
    if scale == 1:
        return images
    size = [max(round(side * scale), 1) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=scale < 1)


def _step(spec: TrainSpec, teachers: Teachers, heads: Sequence[str], maps: Sequence[int]) -> Step:
    """maps: of the teacher's, which the student's are compared with."""
    distil, channels, classes = _given(spec), spec.network.channels, len(spec.classes) + 1

    def step(student: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
        streams = ((batch.images, batch.masks), (batch.pseudo_images, batch.pseudo_masks), batch.unlabelled)
        views = [batch.weak(*one, rng) for one in streams if one is not None and len(one[0])]
        layers, masks = (torch.cat(parts) for parts in zip(*views, strict=True))
        pictures, soft = layers[:, :channels], layers[:, channels:]
        told = _unpacked(soft, classes, heads) if distil.cached else teachers.answer(pictures)
        told = told._replace(features=tuple(told.features[place] for place in maps))

        said = _in_float(student(scaled(pictures, distil.student_scale)))
        masks = _at_size(masks, said.logits)
        counted, target = masks != IGNORE, masks.long()
        labelled, known = len(batch.images), len(batch.images) + len(batch.pseudo_images)
        target[known:] = IGNORE
        loss = batch.loss(said.logits[:labelled], target[:labelled])
        if known > labelled:
            of_pseudo = batch.loss(said.logits[labelled:known], target[labelled:known])
            loss = loss + batch.pseudo_weight * of_pseudo
        lessons = [
            lesson.weight * LESSONS[lesson.loss].compare(said, told, target, counted, **_options(lesson))
            for lesson in distil.lessons
        ]
        return distil.label_weight * loss + torch.stack(lessons).sum()

    return step


def _asked_once(loaded: Loaded, teachers: Teachers, heads: Sequence[str], *, folder: Path, compute: Compute) -> Loaded:
    """The samples with the probabilities of every output of the teachers, on disk and without a name.

    Whoever goes on with a killed training asks again: a pass over the images is cheaper than a cache that may be stale.
    """
    if not len(loaded):
        return loaded
    layers = teachers.classes * (1 + len(heads))
    sizes = [layers * image[0].numel() for image in loaded.images]
    with tempfile.TemporaryFile(dir=folder) as file:
        kept = np.memmap(file, np.float16, "w+", shape=(sum(sizes),))
    soft = []
    for image, part in zip(loaded.images, np.split(kept, np.cumsum(sizes)[:-1]), strict=True):
        with compute.autocast():
            said = teachers.answer(image[None].to(compute.device).float().div(255))
        outputs = [one.softmax(dim=1) for one in (said.logits, *(said.heads[name] for name in heads))]
        soft.append(torch.from_numpy(part).view(layers, *image.shape[1:]))
        size = image.shape[1:]
        soft[-1].copy_(F.interpolate(torch.cat(outputs, dim=1), size, mode="bilinear")[0])
    return replace(loaded, soft=tuple(soft))


def _unpacked(soft: Tensor, classes: int, heads: Sequence[str]) -> Outputs:
    """What `_asked_once` kept, as logits."""
    logits, *others = (part.clamp_min(_LEAST).log() for part in torch.split(soft, classes, dim=1))
    return Outputs(logits, dict(zip(heads, others, strict=True)), ())


def _heads(distil: DistilSpec, said: Outputs, told: Sequence[Outputs]) -> list[str]:
    """The student's further heads where a lesson looks at them."""
    heads = sorted(said.heads) if any(LESSONS[lesson.loss].heads for lesson in distil.lessons) else []
    if missing := sorted(name for name in heads if any(name not in one.heads for one in told)):
        raise SpecError(
            f"distil: expected teachers with the student's outputs {', '.join(heads)}, got one without "
            f"{', '.join(missing)}; choose another teacher, student or lesson"
        )
    return heads


def _pairs(distil: DistilSpec, said: Outputs, told: Outputs) -> list[tuple[int, int]]:
    """The maps that belong together where a lesson looks at them."""
    if not any(LESSONS[lesson.loss].features for lesson in distil.lessons):
        return []
    mine, theirs = (", ".join(f"{i}: {one.shape[1]}" for i, one in enumerate(x.features)) for x in (said, told))
    advice = f"the student has the maps (channels) {mine or 'none'}, the teacher {theirs or 'none'}"
    if not distil.pairs and len(said.features) != len(told.features):
        raise SpecError(f"distil.pairs: expected the maps that belong together, got none; {advice}")
    pairs = list(distil.pairs) or [(place, place) for place in range(len(said.features))]
    if not pairs or any(not (0 <= a < len(said.features) and 0 <= b < len(told.features)) for a, b in pairs):
        raise SpecError(f"distil.pairs: expected places of maps, got {pairs}; {advice}")
    return pairs


def _projections(said: Outputs, told: Outputs, pairs: Sequence[tuple[int, int]], *, seed: int) -> nn.ModuleList:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return projections(
            [said.features[mine].shape[1] for mine, _ in pairs], [told.features[theirs].shape[1] for _, theirs in pairs]
        )


def _probe(model: Segmenter, channels: int, compute: Compute) -> Outputs:
    """What a model says of a picture, for its shapes; it is left in evaluation mode."""
    with torch.no_grad():
        said: Outputs = model.eval()(torch.zeros(1, channels, _PROBE, _PROBE, device=compute.device), detailed=True)
    return said


def _given(spec: TrainSpec) -> DistilSpec:
    if spec.distil is None:
        raise SpecError("distil: expected `distil` with teachers in spec.json, got none; name a checkpoint")
    return spec.distil


def _check_lesson(lesson: Lesson) -> None:
    if lesson.loss not in LESSONS:
        raise SpecError(f"distil: expected lessons among {', '.join(LESSONS)}, got {lesson.loss!r}")
    if strange := sorted(_options(lesson).keys() - LESSONS[lesson.loss].takes):
        raise SpecError(f"distil: expected no {' and no '.join(strange)}, {lesson.loss} takes none; leave it out")
    if lesson.strategy is not None and lesson.strategy not in STRATEGIES:
        raise SpecError(f"distil: expected a strategy among {', '.join(STRATEGIES)}, got {lesson.strategy!r}")
    positive = 0 <= lesson.weight < math.inf and (lesson.temperature is None or lesson.temperature > 0)
    if not positive or not 0 <= (lesson.share or 0) <= 1:
        raise SpecError(f"distil: expected weight >= 0, temperature > 0 and share within 0..1, got {lesson}")


def _options(lesson: Lesson) -> dict[str, Any]:
    """What is given of the loss's own settings."""
    return {name: value for name in _OPTIONS if (value := getattr(lesson, name)) is not None}


def _with_channels(pictures: Tensor, channels: int) -> Tensor:
    """Grey as RGB of equal parts, RGB as grey."""
    if pictures.shape[1] == channels:
        return pictures
    if channels > 1:
        return pictures.expand(-1, channels, -1, -1)
    return (pictures * pictures.new_tensor(_LUMA).view(1, -1, 1, 1)).sum(dim=1, keepdim=True)


def _at_size(masks: Tensor, logits: Tensor) -> Tensor:
    """(N, H, W) uint8 at the size of the logits: the pixel in the middle of each."""
    if masks.shape[-2:] == logits.shape[-2:]:
        return masks
    return F.interpolate(masks[:, None], logits.shape[-2:], mode="nearest-exact")[:, 0]


def _mean_of(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([one.float().softmax(dim=1) for one in logits]).mean(dim=0).clamp_min(_LEAST).log()


def _in_float(said: Outputs) -> Outputs:
    heads = {name: one.float() for name, one in said.heads.items()}
    return Outputs(said.logits.float(), heads, tuple(one.float() for one in said.features))
