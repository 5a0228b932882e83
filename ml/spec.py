"""What `ml` is told and what it answers: frozen dataclasses <-> JSON. The whole boundary between platform and training.

A verb reads `DIR/spec.json` and leaves its outputs and `DIR/result.json` beside it. Progress goes to stdout, one JSON
object a line (`Progress`). Importing this module does not import torch.

Paths are absolute, or relative to the folder of the spec. A mask path may point into a shard: `.../masks.zip/17.png`.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ml.files import written_whole

IGNORE = 255  # pixels that count neither in a loss nor in a metric
IMAGENET = "imagenet"  # as encoder weights: those that the library of the network fetches
WEAK_TO_STRONG = "weak_to_strong"  # the one step that looks at unlabelled images (ml.consistency)
# What a training under way keeps in its folder. Whoever finds it there goes on from it, if the spec is the same.
STATE = "state.pt"
SAVE_SECONDS = 15.0  # between two writings of it: the work that a kill may cost


class SpecError(ValueError):
    """A spec that cannot be run; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Sample:
    """One image, and its index mask where there is one."""

    id: str
    image: str  # 8-bit PNG, grey or RGB
    mask: str | None = None  # index mask, uint8 (H, W): 0 = background, 255 = ignore
    scene: str | None = None  # images of one surface share it; an inner validation is carved by it


@dataclass(frozen=True)
class NetworkSpec:
    """Which network, and how large."""

    name: str = "unet"  # key of ml.networks.NETWORKS
    channels: int = 1  # of the input: 1 = grey, 3 = RGB
    width: int | None = None  # channels of the first level; None = the network's own, of those that have a choice
    encoder: str | None = None  # of the `smp_...` networks, by its name there; None = resnet18


@dataclass(frozen=True)
class Lesson:
    """One loss between what the student says and what the teacher says; None = the loss's own setting."""

    loss: str = "kl"  # key of ml.distillation.LESSONS
    weight: float = 1.0
    temperature: float | None = None
    share: float | None = None  # of the divergence in `pixels_and_kl`
    strategy: str | None = None  # of `labels`, key of ml.distillation.STRATEGIES


@dataclass(frozen=True)
class DistilSpec:
    """What a training learns from teachers, on all its images, beside what its labels say."""

    teachers: tuple[str, ...]  # checkpoints of the same classes; several answer with the mean of their probabilities
    lessons: tuple[Lesson, ...] = (Lesson(),)
    label_weight: float = 1.0  # of the loss on labels and pseudo-labels
    pairs: tuple[tuple[int, int], ...] = ()  # maps that belong together, (student's, teacher's); () = all, in order
    # Sides of what each of them sees, in those of the crop: 512 and 224 pixels are crop 512, student_scale 0.4375.
    teacher_scale: float = 1.0
    student_scale: float = 1.0
    cached: bool = False  # the teachers answer once, for whole images, before the first step


@dataclass(frozen=True)
class ConsistencySpec:
    """What `weak_to_strong` asks of the moving average of the weights, the teacher of its unlabelled images."""

    weight: float = 1.0  # of the loss on unlabelled images, once it counts in full; 1 = as much as that on labels
    views: int = 2  # strongly augmented ones of each unlabelled image
    temperature: float = 1.0  # of the teacher's logits
    memory: float = 0.999  # decay of the mean confidences that make the thresholds
    warm_up: float = 0.1  # share of the steps in which unlabelled images do not count yet
    ramp: float = 0.1  # share of the steps in which they then come to count, linearly


@dataclass(frozen=True)
class ScheduleSpec:
    """How the learning rate goes on from step to step. What a schedule does not take is not read."""

    name: str = "poly"  # key of ml.optimisation.SCHEDULES, or "plateau"
    warm_up: int = 0  # steps in which the rate first rises, linearly, to that of the schedule; not before plateau
    power: float = 0.9  # poly: the rate is (1 - done / steps) ^ power
    last: float = 0.0  # cosine: share of the rate that is left at the end
    milestones: tuple[int, ...] = ()  # multistep: steps after which the rate is multiplied by `factor`
    factor: float = 0.5  # multistep, plateau
    patience: int = 5  # plateau: looks (TrainSpec.look_every) in a row without a better one, before `factor`


@dataclass(frozen=True)
class TrainSpec:
    """A training on labelled and pseudo-labelled samples.

    The schedule is fixed and the last weights (or their moving average) are the result. Only with `stop_after` it may
    end earlier, and its result is that of the best look at the inner validation.
    """

    classes: tuple[str, ...]  # defect classes; index i + 1 in the masks
    labelled: tuple[Sample, ...]
    pseudo: tuple[Sample, ...] = ()
    unlabelled: tuple[Sample, ...] = ()  # images without masks, for the teachers of distil, or weak_to_strong's own
    # Ids of validation and test images: meeting one among the samples above stops the training.
    held_out: tuple[str, ...] = ()
    network: NetworkSpec = NetworkSpec()
    start_from: str | None = None  # checkpoint of the same network whose weights to begin with; None = fresh ones
    encoder_weights: str | None = None  # IMAGENET, where they can be had, or a state dict's file; None = fresh ones
    step: str = "supervised"  # key of ml.steps.STEPS
    consistency: ConsistencySpec = ConsistencySpec()  # of weak_to_strong
    distil: DistilSpec | None = None  # with it the step is that of ml.teaching
    weak: str = "poses_and_zoom"  # key of ml.augment.WEAK: how every image is moved at every step
    steps: int = 1000  # optimiser steps in all
    batch: int = 8  # labelled images a batch; of the pseudo-labelled and the unlabelled, if any, as many on top
    accumulation: int = 1  # batches whose mean gradient makes one optimiser step
    pseudo_weight: float = 0.5  # of the loss on pseudo-labelled images, beside 1 for that on labelled ones
    loss: str = "balanced_cross_entropy_and_dice"  # key of ml.losses.LOSSES
    class_weights: tuple[float, ...] = ()  # of cross_entropy's pixels, background first; () = every class 1
    crop: int = 200  # pixels; smaller images are padded with ignore
    learning_rate: float = 0.01
    head_rate: float = 1.0  # times learning_rate for all but the network's encoder (PPL: 10)
    weight_decay: float = 1e-4
    optimiser: str = "sgd"  # key of ml.optimisation.OPTIMISERS
    momentum: float = 0.9  # of sgd
    nesterov: bool = False  # of sgd
    schedule: ScheduleSpec = ScheduleSpec()
    frozen_steps: int = 0  # from the first on, in which the network's encoder learns nothing; `steps` = all along
    average: float = 0.0  # decay of the weights' exponential moving average, which then is the result; 0 = none
    inner_validation: float = 0.0  # share of the labelled scenes that is looked at instead of trained on
    look_every: int = 100  # steps between two looks at it (plateau without one: at the training loss)
    stop_after: int = 0  # looks in a row without a better one, after which the training ends; 0 = never
    precision: str = "auto"  # auto (bf16 where the machine is fast at it), fp32, bf16, fp16
    seed: int = 0
    threads: int = 0  # processor threads; 0 = all cores
    cache: str | None = None  # folder in which decoded pixels stay for later runs; None = each run decodes its own

    @property
    def shares(self) -> tuple[int, int, int]:
        """Labelled, pseudo-labelled and unlabelled images of a batch."""
        return self.batch, self.batch if self.pseudo else 0, self.batch if self.unlabelled else 0

    @property
    def passes_a_step(self) -> int:
        """Images through forward and backward; of an unlabelled one each of its strong views."""
        labelled, pseudo, unlabelled = self.shares
        views = self.consistency.views if self.step == WEAK_TO_STRONG else 1
        return self.accumulation * (labelled + pseudo + views * unlabelled)


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves in result.json."""

    checkpoint: str  # file name of the final weights
    checkpoints: tuple[str, ...]  # at the thirds of the schedule that were reached, the final weights last
    parameters: int
    steps: int
    image_passes: int  # images through forward + backward
    seconds: float
    device: str  # for example "cpu bf16", "cuda bf16"
    loss: float  # mean over the last tenth of the steps
    curve: tuple[tuple[int, float], ...]  # (step, smoothed loss), at most 200 points
    began: str = ""  # with what weights, in words
    watched: str = ""  # what plateau and early stopping looked at; "" = nothing did
    looks: tuple[tuple[int, float], ...] = ()  # (step, what was seen), more is better
    note: str = ""  # where it was resumed, or why it was not; where it stopped early


@dataclass(frozen=True)
class PredictSpec:
    """Masks and scores of samples by the last of the checkpoints; the earlier ones only measure stability."""

    classes: tuple[str, ...]
    checkpoints: tuple[str, ...]  # earliest first; the last one makes the masks
    samples: tuple[Sample, ...]
    batch: int = 16
    flip: bool = False  # average over the image and its mirror images (test-time augmentation)
    scales: tuple[float, ...] = (1.0,)  # average over the image at these sizes (test-time augmentation)
    window: int = 0  # pixels: larger images go through in overlapping windows of this size, blended; 0 = whole
    overlap: float = 0.5  # of two neighbouring windows, at least
    threshold: float = 0.0  # pixels whose highest probability is lower become ignore in the masks
    stable: str = "foreground"  # key of ml.reliability.STABILITIES: how far the checkpoints agree
    facts: bool = False  # leave facts.npz, by which questions are chosen (ml.facts)
    second: str | None = None  # checkpoint of another model: facts tell how far its masks are from those of the last
    precision: str = "auto"  # auto (bf16 where the machine is fast at it), fp32, bf16, fp16
    threads: int = 0
    cache: str | None = None


@dataclass(frozen=True)
class Score:
    """Scores of one predicted image, each in [0, 1] and up = more of what the name says."""

    id: str
    member: str  # name of the palette PNG inside masks.zip
    uncertainty: float  # mean entropy / ln K of the most uncertain twentieth of the pixels
    confidence: float  # PPL: mean over pixels of (1 - entropy / ln K) * max p
    stability: float | None  # PPL: mean agreement of earlier checkpoints with the last; None with one checkpoint
    reliability: float | None  # stability * confidence
    class_pixels: tuple[int, ...]  # predicted pixels per class, background first, whatever the threshold
    kept_pixels: tuple[int, ...] = ()  # those of them that reach it; () = a result of before they were counted


@dataclass(frozen=True)
class PredictResult:
    """What a prediction leaves: scores in the order of the samples, masks.zip (a palette PNG each), facts.npz."""

    masks: str
    scores: tuple[Score, ...]
    seconds: float
    device: str


@dataclass(frozen=True)
class EvaluateSpec:
    """Confusion counts of checkpoints on samples with truth."""

    classes: tuple[str, ...]
    checkpoints: tuple[str, ...]
    samples: tuple[Sample, ...]
    batch: int = 16
    flip: bool = False  # this and the next four as in PredictSpec
    scales: tuple[float, ...] = (1.0,)
    window: int = 0
    overlap: float = 0.5
    precision: str = "auto"
    threads: int = 0
    cache: str | None = None


@dataclass(frozen=True)
class Figures:
    """Read from one confusion matrix summed over all samples (ml.metrics)."""

    checkpoint: str
    confusion: tuple[tuple[int, ...], ...]  # K x K, rows = truth, background first
    iou: tuple[float | None, ...]  # per class; None = absent from truth and prediction
    miou: float  # mean of the present ones, background included
    miou_foreground: float | None  # the same without background


@dataclass(frozen=True)
class EvaluateResult:
    """One entry per checkpoint; `confusions.npz` beside it holds the counts per image: (images, K, K) int64 each."""

    figures: tuple[Figures, ...]
    images: int
    per_image: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    """One line on stdout, at most two a second."""

    step: int
    steps: int
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    eta_seconds: float | None = None
    note: str = ""
    curve: tuple[tuple[int, float], ...] = field(default=())


Spec = TypeVar("Spec")


def to_json(value: Any) -> str:
    """A dataclass of this module as indented JSON."""
    return json.dumps(dataclasses.asdict(value), indent=1)


def from_json(kind: type[Spec], text: str) -> Spec:
    """A dataclass of this module from JSON; unknown, missing and ill-typed fields raise SpecError."""
    built: Spec = _build(kind, json.loads(text), kind.__name__)
    return built


def read(kind: type[Spec], folder: Path, name: str = "spec.json") -> Spec:
    """The spec (or result) that a folder holds; a missing file, or one that is not JSON, raises SpecError."""
    try:
        return from_json(kind, (folder / name).read_text())
    except FileNotFoundError:
        raise SpecError(f"{folder / name}: no such file; write it, or name the folder that holds it") from None
    except json.JSONDecodeError as error:
        raise SpecError(f"{folder / name}: not JSON ({error}); write it again") from error


def write(value: Any, folder: Path, name: str) -> None:
    """Write `value` as JSON into a folder, whole or not at all."""
    with written_whole(folder / name) as path:
        path.write_text(to_json(value))


def _build(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if get_origin(kind) is tuple:
        return _build_tuple(kind, value, where)
    options = get_args(kind) or (kind,)  # str | None
    if type(None) in options and value is None:
        return None
    (plain,) = (option for option in options if option is not type(None))
    if dataclasses.is_dataclass(plain):
        return _build_dataclass(plain, value, where)
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise SpecError(f"{where}: expected {plain.__name__}, got {value!r}")
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SpecError(f"{where}: expected an object, got {value!r}")
    hints = get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise SpecError(f"{where}: unknown fields {', '.join(unknown)}; known: {', '.join(hints)}")
    required = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - set(value)):
        raise SpecError(f"{where}: missing fields {', '.join(missing)}")
    return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _build_tuple(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise SpecError(f"{where}: expected a list, got {value!r}")
    inner = get_args(kind)
    if inner[-1] is Ellipsis:
        return tuple(_build(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(inner) != len(value):
        raise SpecError(f"{where}: expected {len(inner)} items, got {len(value)}")
    return tuple(_build(one, item, f"{where}[{i}]") for i, (one, item) in enumerate(zip(inner, value, strict=True)))
