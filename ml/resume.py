"""The state of a training under way, `state.pt`: what a training that was killed goes on from, bit for bit on a CPU."""

import dataclasses
import hashlib
import io
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from ml.consistency import Guide
from ml.device import Team
from ml.files import written_whole
from ml.progress import Diary
from ml.spec import STATE, TrainSpec
from ml.watch import Watch

FORMAT = 3  # raised when the content changes
_DIGEST = 32  # bytes of a sha256, ahead of the rest
_SHARE = 0.01  # of the time that writing states may take
_RAREST = 60  # times as seldom as asked for, on however slow a disk


@dataclass
class Draws:
    """What one process draws from."""

    augmentation: torch.Generator
    order: np.random.Generator  # and the places of crops
    # Indices that were shuffled and not trained on yet, of the labelled, the pseudo-labelled and the unlabelled stream.
    waiting: tuple[list[int], ...] = field(default_factory=lambda: ([], [], []))

    @classmethod
    def begin(cls, seed: int, *, rank: int, device: torch.device) -> "Draws":
        """Those of step 0; every process has its own."""
        return cls(
            augmentation=torch.Generator(device).manual_seed(seed + 1000 * rank),
            order=np.random.default_rng([seed, rank]),
        )

    def state(self) -> dict[str, Any]:
        return {
            "augmentation": self.augmentation.get_state(),
            "order": self.order.bit_generator.state,
            "waiting": [list(indices) for indices in self.waiting],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.augmentation.set_state(state["augmentation"])
        self.order.bit_generator.state = state["order"]
        for waiting, kept in zip(self.waiting, state["waiting"], strict=True):
            waiting[:] = kept


@dataclass(frozen=True)
class Parts:
    """All that changes while a training runs."""

    learner: nn.Module  # the model, with the projections of a distillation
    average: AveragedModel | None
    optimiser: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    watch: Watch
    guide: Guide
    diary: Diary
    draws: Draws

    def by_name(self) -> dict[str, Any]:
        """Those that give and take a state_dict."""
        names = ("learner", "average", "optimiser", "schedule", "scaler", "watch", "guide")
        return {name: part for name in names if (part := getattr(self, name)) is not None}


class Keeper:
    """Keeps the state of a training in its folder. All processes of the team call it alike; the first one writes."""

    def __init__(self, spec: TrainSpec, folder: Path, parts: Parts, *, team: Team, seconds: float) -> None:
        self._path = folder / STATE
        self._parts = parts
        self._team = team
        self._seconds = seconds
        self._fingerprint = _fingerprint(spec, parts.learner)
        # At about two hundred steps of a training: asking the others at every step would hold up a GPU.
        self._stride = parts.diary.stride
        self._due = time.monotonic() + seconds

    def resume(self) -> int:
        """The steps already done, whose state is taken over; 0 where no state fits. The diary says which it was."""
        diary = self._parts.diary
        try:
            state = _read(self._path)
            fits = state["fingerprint"] == self._fingerprint
        except FileNotFoundError:
            return 0
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the training can do without
            why = str(error).partition("\n")[0][:100]
            diary.remark = f"started afresh: the state of the earlier attempt cannot be read ({why})"
            return 0
        if not fits:
            diary.remark = "started afresh: the earlier attempt had other labels, settings or software"
            return 0
        self._restore(state)
        return int(state["step"])

    def keep(self, step: int) -> None:
        """Write the state when that is due; called after every step."""
        if step % self._stride or not self._team.agree(time.monotonic() >= self._due):
            return
        draws = self._team.gather(self._parts.draws.state())
        if self._team.rank:
            return
        began = time.monotonic()
        try:
            self._save(step, draws)
            self._parts.diary.trouble = ""
        except OSError as error:
            # The training itself lacks nothing yet, and the disk may have room again when it does.
            self._parts.diary.trouble = f"the state of step {step} could not be written ({error.strerror})"
        ended = time.monotonic()
        self._due = ended + max(self._seconds, min((ended - began) / _SHARE, _RAREST * self._seconds))

    def _save(self, step: int, draws: list[dict[str, Any]]) -> None:
        state = {
            "fingerprint": self._fingerprint,
            "step": step,
            "parts": {name: part.state_dict() for name, part in self._parts.by_name().items()},
            "diary": self._parts.diary.state(),
            "draws": draws,
            "device": self._device.type,
            # In one file with the rest: another attempt, in another folder, needs them as well.
            "checkpoints": {path.name: _bytes_of(path) for path in self._path.parent.glob("checkpoint-*.pt")},
        }
        _write(state, self._path)

    def _restore(self, state: dict[str, Any]) -> None:
        parts, team = self._parts, self._team
        for name, part in parts.by_name().items():
            part.load_state_dict(state["parts"][name])
        parts.diary.restore(state["diary"], self._device)
        parts.diary.remark = f"resumed at step {state['step']} of {parts.diary.pace.steps}"
        if (state["device"], len(state["draws"])) == (self._device.type, team.processes):
            parts.draws.restore(state["draws"][team.rank])
        else:
            parts.diary.remark += ", with new random draws: on another kind or number of devices"
        if team.rank == 0:
            for name, content in state["checkpoints"].items():
                with written_whole(self._path.with_name(name)) as temporary:
                    temporary.write_bytes(content.numpy())

    @property
    def _device(self) -> torch.device:
        return self._parts.draws.augmentation.device


def _fingerprint(spec: TrainSpec, model: nn.Module) -> str:
    """What the weights depend on: a state of another spec, network or torch is of no use."""
    told = dataclasses.asdict(dataclasses.replace(spec, held_out=(), threads=0, cache=None))
    shapes = [(name, list(value.shape)) for name, value in model.state_dict().items()]
    return hashlib.sha256(json.dumps([FORMAT, torch.__version__, told, shapes]).encode()).hexdigest()


def _write(state: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    # torch reads changed bytes as changed weights, without a word.
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(buffer.getbuffer()).digest())
        file.write(buffer.getbuffer())


def _read(path: Path) -> dict[str, Any]:
    content = memoryview(path.read_bytes())
    digest, state = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(state).digest() != digest:
        raise ValueError("its bytes are not those that were written")
    return dict(torch.load(io.BytesIO(state), map_location="cpu", weights_only=True))


def _bytes_of(path: Path) -> Tensor:
    return torch.from_numpy(np.fromfile(path, dtype=np.uint8))
