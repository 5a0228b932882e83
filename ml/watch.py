"""What a training looks at while it runs: an inner validation, carved by scene from its own labelled samples.

Never validation or test: what decides when to stop is part of the training.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ml import data, metrics
from ml.device import Compute, Team
from ml.inference import evaluating, probabilities
from ml.networks import Segmenter
from ml.optimisation import PLATEAU
from ml.spec import Sample, SpecError, TrainSpec


def carve(spec: TrainSpec) -> tuple[TrainSpec, tuple[Sample, ...]]:
    """The spec without the labelled samples of some scenes, and those; nothing else of these scenes is left in.

    Raises:
        SpecError: a sample without a scene (two images of one surface might be parted), or less than two scenes.
    """
    if not spec.inner_validation:
        return spec, ()
    for sample in (*spec.labelled, *spec.pseudo, *spec.unlabelled):
        if sample.scene is None:
            raise SpecError(
                f"inner_validation: expected the scene of every sample, {sample.id} has none; "
                "give it (python -m ml scenes finds them), or set inner_validation to 0"
            )
    scenes = sorted({str(sample.scene) for sample in spec.labelled})
    if len(scenes) < 2:
        raise SpecError(
            f"inner_validation: expected labelled samples of two scenes or more, got {len(scenes)}; "
            "label more, or set inner_validation to 0"
        )
    count = min(max(1, round(spec.inner_validation * len(scenes))), len(scenes) - 1)
    chosen = set(np.random.default_rng(spec.seed).permutation(scenes)[:count].tolist())

    def others(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(sample for sample in samples if sample.scene not in chosen)

    left = dataclasses.replace(
        spec, labelled=others(spec.labelled), pseudo=others(spec.pseudo), unlabelled=others(spec.unlabelled)
    )
    return left, tuple(sample for sample in spec.labelled if sample.scene in chosen)


def mean_iou(model: Segmenter, loaded: data.Loaded, *, classes: int, batch: int, compute: Compute) -> float:
    """Over whole images, background included.

    Raises:
        SpecError: no pixel of them counts.
    """
    counts = np.zeros((classes, classes), np.int64)
    with evaluating(model):
        for some in data.same_sized(loaded, batch):
            found = probabilities(model, some.images, compute=compute).argmax(dim=1).to("cpu", torch.uint8)
            counts += metrics.confusion(some.masks.numpy(), found.numpy(), classes)
    if not counts.any():
        raise SpecError(
            "inner_validation: expected counted pixels, got masks of 255 (ignore) only; label more, or set it to 0"
        )
    return metrics.mean_iou(counts, background=True)


class Watch:
    """Looks now and then; lowers the rate on a plateau, and says which look was the best and when it is over."""

    def __init__(
        self, spec: TrainSpec, schedule: LRScheduler, see: Callable[[int], float], inner: tuple[Sample, ...],
        *, team: Team,
    ) -> None:  # fmt: skip
        self.what = ""  # "" = nothing is looked at
        if inner:
            self.what = f"mIoU of {len(inner)} images of {len({one.scene for one in inner})} scenes kept from training"
        elif spec.schedule.name == PLATEAU:
            self.what = "training loss, with a minus"
        self.seen: list[tuple[int, float]] = []  # after which step, and what
        self._spec = spec
        self._schedule = schedule
        self._see = see  # after a step: higher is better
        self._team = team

    def look(self, step: int) -> bool:
        """Whether this was the best look so far; False where it is not time for one."""
        if not self.what or (step % self._spec.look_every and step != self._spec.steps):
            return False
        # One says it for all: each process has its own figures of batch normalisation, and its own loss.
        seen = self._team.agree(self._see(step) if self._team.rank == 0 else 0.0)
        self.seen.append((step, seen))
        if isinstance(self._schedule, ReduceLROnPlateau):
            self._schedule.step(seen)
        return self._best() == len(self.seen) - 1

    def over(self) -> bool:
        """Whether too many looks in a row have been no better."""
        return 0 < self._spec.stop_after <= len(self.seen) - 1 - self._best()

    def remark(self) -> str:
        """Where it stopped, if early."""
        if not self.over():
            return ""
        step, seen = self.seen[self._best()]
        return f"stopped at step {self.seen[-1][0]} of {self._spec.steps}: best at step {step} ({seen:.4f})"

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = [(step, seen) for step, seen in state["seen"]]

    def _best(self) -> int:
        """Place of the first of the best looks; -1 before any."""
        return max(range(len(self.seen)), key=lambda place: self.seen[place][1], default=-1)
