"""The teacher of a training by weak-to-strong consistency: what it says of unlabelled images, where it is sure enough.

Source: Sohn et al., FixMatch (2020); thresholds after Wang et al., FreeMatch (2023), equations 6 to 8.
Changed: a class's mean is over the pixels that are called so (FreeMatch: over all, which on surfaces would let anything
pass as a rare defect); the means are short at first, as a training of surfaces has hundreds of steps, not a million.
"""

from typing import Any

import torch
from torch import Tensor

from ml.device import Team
from ml.inference import evaluating
from ml.networks import Segmenter
from ml.reliability import confidence
from ml.spec import IGNORE, TrainSpec


class Guide:
    """Answers for a training, and remembers how sure the answers were: part of the state that is resumed."""

    def __init__(self, teacher: Segmenter, spec: TrainSpec, *, device: torch.device, team: Team) -> None:
        """teacher: the moving average of the weights; where there is none, the model that is trained."""
        self.views = spec.consistency.views
        self._teacher = teacher
        self._told = spec.consistency
        self._batches = spec.steps * spec.accumulation
        self._team = team
        classes = len(spec.classes) + 1
        # Of the pixels called each class, and of all: mean highest probability, and how many batches showed some.
        self._means = torch.full((classes + 1,), 1 / classes, device=device)
        self._shown = torch.zeros(classes + 1, device=device)
        self._answered = 0

    def answer(self, pictures: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (N, S, S) uint8, 255 where it is not sure enough, and how sure it is of each image, (N,) in [0, 1].

        pictures: (N, C, S, S) float in [0, 1].  outside: (N, S, S) uint8, 255 where a picture shows nothing.
        """
        # The others have their own figures of batch normalisation, and would go on with other ones when resumed.
        self._team.share([*self._teacher.buffers(), self._means, self._shown])
        with torch.no_grad(), evaluating(self._teacher):
            found = (self._teacher(pictures).float() / self._told.temperature).softmax(dim=1)
        sure, masks = found.max(dim=1)
        inside = outside != IGNORE
        self._remember(sure[inside], masks[inside])
        enough = inside & (sure >= self.thresholds()[masks])
        return masks.masked_fill(~enough, IGNORE).to(torch.uint8), confidence(found)

    def thresholds(self) -> Tensor:
        """(K,) in [0, 1]: the mean certainty, lower for a class of which the teacher is less sure than of others."""
        of_class, of_all = self._means[:-1], self._means[-1]
        return of_all * of_class / of_class.max()

    def weight(self) -> float:
        """Of the loss on what was answered last: 0 in the warm-up, then up to what the spec says."""
        done = (self._answered - 1) / self._batches - self._told.warm_up
        if done < 0:
            return 0.0
        return self._told.weight * (min(1.0, done / self._told.ramp) if self._told.ramp else 1.0)

    def state_dict(self) -> dict[str, Any]:
        return {"means": self._means, "shown": self._shown, "answered": self._answered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._means.copy_(state["means"])
        self._shown.copy_(state["shown"])
        self._answered = state["answered"]

    def _remember(self, sure: Tensor, masks: Tensor) -> None:
        """sure: (P,) highest probabilities of pixels.  masks: (P,) what they are called."""
        self._answered += 1
        classes = len(self._means) - 1
        counts = torch.bincount(masks, minlength=classes)
        sums = torch.bincount(masks, sure, minlength=classes)
        counts, sums = (torch.cat([one, one.sum(dim=0, keepdim=True)]) for one in (counts, sums))
        decay = ((1 + self._shown) / (10 + self._shown)).clamp_max(self._told.memory)
        means = decay * self._means + (1 - decay) * sums / counts.clamp_min(1)
        self._means = self._means.where(counts == 0, means)
        self._shown += counts > 0
