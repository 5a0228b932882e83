"""Whether a training can be run as its spec stands, before anything is read."""

import math
from collections.abc import Collection, Iterator

from ml import teaching
from ml.augment import WEAK
from ml.device import PRECISIONS
from ml.losses import LOSSES
from ml.optimisation import OPTIMISERS, PLATEAU, SCHEDULES
from ml.spec import WEAK_TO_STRONG, SpecError, TrainSpec
from ml.steps import STEPS


def check(spec: TrainSpec, *, processes: int) -> None:
    """Raises SpecError when the spec cannot be run as it stands."""
    refuse_held_out(spec)
    for field, name, known in _names(spec):
        if name not in known:
            raise SpecError(f"{field}: expected one of {', '.join(known)}, got {name!r}")
    if spec.distil:
        teaching.check(spec)
    if spec.start_from and spec.encoder_weights:
        raise SpecError("expected start_from or encoder_weights, got both; leave one of them out")
    if not spec.labelled:
        raise SpecError("labelled: expected at least one labelled sample, got none; label some images first")
    # A number that is none fulfils no comparison.
    for possible, field, expected, got in (*_numbers(spec, processes), *_together(spec)):
        if not possible:
            raise SpecError(f"{field}: expected {expected}, got {got}; correct it in the spec")


def refuse_held_out(spec: TrainSpec) -> None:
    """Raises SpecError when a validation or test image, by id or by file, would be trained on, or an id comes twice.

    Two ids may share a file: an exact copy among the imported images is an image of its own.
    """
    held_out = set(spec.held_out)
    seen: set[str] = set()
    for sample in (*spec.labelled, *spec.pseudo, *spec.unlabelled):
        if met := held_out & {sample.id, sample.image}:
            raise SpecError(
                f"sample {sample.id}: expected training images only, got {met.pop()!r}, which is held out for "
                "validation or test; correct the split and prepare the round again"
            )
        if sample.id in seen:
            raise SpecError(f"sample {sample.id}: expected every id once, got it twice; remove one")
        seen.add(sample.id)


def _names(spec: TrainSpec) -> Iterator[tuple[str, str, Collection[str]]]:
    yield "step", spec.step, STEPS
    yield "weak", spec.weak, WEAK
    yield "loss", spec.loss, LOSSES
    yield "optimiser", spec.optimiser, OPTIMISERS
    yield "schedule.name", spec.schedule.name, (*SCHEDULES, PLATEAU)
    yield "precision", spec.precision, ("auto", *PRECISIONS)


def _numbers(spec: TrainSpec, processes: int) -> Iterator[tuple[bool, str, str, object]]:
    schedule, consistency = spec.schedule, spec.consistency
    yield spec.steps >= 1, "steps", "1 or more", spec.steps
    yield spec.crop >= 32, "crop", "32 pixels or more", spec.crop
    yield (
        spec.batch >= processes and spec.batch % processes == 0,
        "batch", f"a positive multiple of {processes} (processes)", spec.batch,
    )  # fmt: skip
    yield spec.accumulation >= 1, "accumulation", "1 or more", spec.accumulation
    yield spec.pseudo_weight >= 0, "pseudo_weight", "0 or more", spec.pseudo_weight
    yield 0 < spec.learning_rate < math.inf, "learning_rate", "more than 0", spec.learning_rate
    yield spec.head_rate > 0, "head_rate", "more than 0", spec.head_rate
    yield spec.weight_decay >= 0, "weight_decay", "0 or more", spec.weight_decay
    yield 0 <= spec.momentum < 1, "momentum", "0 up to below 1", spec.momentum
    yield 0 <= spec.frozen_steps <= spec.steps, "frozen_steps", f"0 to {spec.steps} (steps)", spec.frozen_steps
    yield 0 <= spec.average < 1, "average", "0 up to below 1", spec.average
    yield 0 <= spec.inner_validation < 1, "inner_validation", "0 up to below 1", spec.inner_validation
    yield spec.look_every >= 1, "look_every", "1 or more", spec.look_every
    yield spec.stop_after >= 0, "stop_after", "0 or more", spec.stop_after
    yield 0 <= schedule.warm_up < spec.steps, "schedule.warm_up", f"0 up to below {spec.steps}", schedule.warm_up
    yield schedule.power > 0, "schedule.power", "more than 0", schedule.power
    yield 0 <= schedule.last <= 1, "schedule.last", "0 to 1", schedule.last
    yield 0 < schedule.factor < 1, "schedule.factor", "more than 0 and less than 1", schedule.factor
    yield schedule.patience >= 0, "schedule.patience", "0 or more", schedule.patience
    yield consistency.weight >= 0, "consistency.weight", "0 or more", consistency.weight
    yield consistency.views >= 1, "consistency.views", "1 or more", consistency.views
    yield consistency.temperature > 0, "consistency.temperature", "more than 0", consistency.temperature
    yield 0 <= consistency.memory < 1, "consistency.memory", "0 up to below 1", consistency.memory
    yield 0 <= consistency.warm_up <= 1, "consistency.warm_up", "0 to 1", consistency.warm_up
    yield 0 <= consistency.ramp <= 1, "consistency.ramp", "0 to 1", consistency.ramp


def _together(spec: TrainSpec) -> Iterator[tuple[bool, str, str, object]]:
    """What one field asks of another."""
    schedule, weights = spec.schedule, spec.class_weights
    yield (
        not spec.unlabelled or spec.distil is not None or spec.step == WEAK_TO_STRONG,
        "unlabelled", f"none where nobody looks at them, as in the step {spec.step}", f"{len(spec.unlabelled)} images",
    )  # fmt: skip
    yield not spec.nesterov or spec.momentum > 0, "momentum", "more than 0 for nesterov", spec.momentum
    within = all(0 < milestone < spec.steps for milestone in schedule.milestones)
    yield (
        schedule.name != "multistep" or (within and bool(schedule.milestones)),
        "schedule.milestones", f"steps between 0 and {spec.steps} for multistep", schedule.milestones,
    )  # fmt: skip
    yield (
        schedule.name != PLATEAU or not schedule.warm_up,
        "schedule.warm_up", "0 before plateau, which goes by what it sees", schedule.warm_up,
    )  # fmt: skip
    yield (
        not weights or (len(weights) == len(spec.classes) + 1 and min(weights) >= 0 and 0 < sum(weights) < math.inf),
        "class_weights", f"{len(spec.classes) + 1} numbers of 0 or more, background first", weights,
    )  # fmt: skip
    yield (
        not weights or spec.loss == "cross_entropy",
        "loss", "cross_entropy, which takes class_weights", spec.loss,
    )  # fmt: skip
    yield (
        not spec.stop_after or spec.inner_validation > 0,
        "inner_validation", "a share for stop_after to look at", spec.inner_validation,
    )  # fmt: skip
