"""How far a run is: lines on stdout, at most two a second, and the loss curve of a training."""

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ml.spec import Progress

Say = Callable[[Progress], None]

_INTERVAL = 0.5  # seconds between two lines
_CURVE_POINTS = 200
_MEMORY = 0.95  # of the smoothed loss: about the last twenty steps


class DivergedError(ArithmeticError):
    """The loss is no number any more; the message says what to change."""


def print_line(progress: Progress) -> None:
    """One JSON object on stdout."""
    print(json.dumps(dataclasses.asdict(progress)), flush=True)


class Pace:
    """When to speak next, and how long the rest will take."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._started = time.monotonic()  # earlier by what attempts before this one have taken
        self._spoke = -math.inf

    def due(self, step: int) -> bool:
        """Whether half a second has passed since this was last true, or the last step is reached."""
        now = time.monotonic()
        if step < self.steps and now - self._spoke < _INTERVAL:
            return False
        self._spoke = now
        return True

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def count_in(self, seconds: float) -> None:
        """Seconds that the steps already done have taken elsewhere."""
        self._started -= seconds

    def eta(self, step: int) -> float:
        return self.seconds() / step * (self.steps - step)


class Diary:
    """The losses of a training. They stay on the device until somebody is told: fetching each would stall a GPU."""

    def __init__(self, *, steps: int, steps_per_epoch: float, say: Say, began: str = "") -> None:
        self.pace = Pace(steps)
        self.curve: list[tuple[int, float]] = []
        self.stride = math.ceil(steps / _CURVE_POINTS)  # steps between two points of the curve
        self.began = began  # with what weights
        self.remark = ""  # where it was resumed, or why it was not
        self.trouble = ""  # what is wrong now
        self._steps_per_epoch = steps_per_epoch
        self._say = say
        self._smoothed: Tensor | float = 0.0
        self._weight = 0.0
        self._tail: deque[Tensor] = deque(maxlen=math.ceil(steps / 10))

    def note(self, step: int, loss: Tensor) -> None:
        """Raises DivergedError when the loss is no number; `step` counts from 1."""
        loss = loss.detach()
        self._smoothed = _MEMORY * self._smoothed + (1 - _MEMORY) * loss
        self._weight = _MEMORY * self._weight + (1 - _MEMORY)
        self._tail.append(loss)
        if step % self.stride == 0 or step == self.pace.steps:
            self.curve.append((step, self.current(step)))
        if self.pace.due(step):
            self._say(self._progress(step))

    def current(self, step: int) -> float:
        """The smoothed loss; raises DivergedError when it is no number."""
        value = float(self._smoothed) / self._weight
        if not math.isfinite(value):
            raise DivergedError(
                f"expected a finite loss, got {value} at step {step} of {self.pace.steps}; "
                "lower learning_rate (a third of it is a good try) and train again"
            )
        return value

    def final_loss(self) -> float:
        """Mean over the last steps, a tenth of the schedule."""
        return float(torch.stack(tuple(self._tail)).mean())

    def state(self) -> dict[str, Any]:
        """What is needed to go on writing, in plain numbers."""
        return {
            "began": self.began,
            "seconds": self.pace.seconds(),
            "curve": self.curve,
            "smoothed": float(self._smoothed),
            "weight": self._weight,
            "tail": torch.stack(tuple(self._tail)).tolist(),
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        self.began = state["began"]
        self.pace.count_in(state["seconds"])
        self.curve = [(step, loss) for step, loss in state["curve"]]
        self._smoothed = torch.tensor(state["smoothed"], device=device)
        self._weight = state["weight"]
        self._tail.extend(torch.tensor(state["tail"], device=device))

    def _progress(self, step: int) -> Progress:
        return Progress(
            step=step,
            steps=self.pace.steps,
            epoch=math.ceil(step / self._steps_per_epoch),
            epochs=math.ceil(self.pace.steps / self._steps_per_epoch),
            loss=self.current(step),
            eta_seconds=self.pace.eta(step),
            note="; ".join(filter(None, (self.remark, self.trouble))),
            curve=tuple(self.curve),
        )
