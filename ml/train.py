"""The one training loop. Methods differ in their step (ml.steps), never here.

Several processes (torchrun) share a batch; each computes its part, and the first one speaks and writes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ml import checkpoint, data, teaching
from ml.device import Compute, Team, choose
from ml.networks import NETWORKS, Segmenter, encoders
from ml.progress import Diary, Say
from ml.resume import Draws, Keeper, Parts
from ml.spec import IMAGENET, SAVE_SECONDS, Sample, SpecError, TrainResult, TrainSpec
from ml.steps import STEPS, Batch


def sgd(parameters: Iterable[nn.Parameter], spec: TrainSpec) -> Optimizer:
    """Stochastic gradient descent with momentum 0.9."""
    return SGD(parameters, lr=spec.learning_rate, momentum=0.9, weight_decay=spec.weight_decay)


def adamw(parameters: Iterable[nn.Parameter], spec: TrainSpec) -> Optimizer:
    """Adam with decoupled weight decay."""
    return AdamW(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay)


OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter], TrainSpec], Optimizer]] = {"sgd": sgd, "adamw": adamw}


def train(spec: TrainSpec, folder: Path, *, say: Say, team: Team, save_seconds: float = SAVE_SECONDS) -> TrainResult:
    """What was left in `folder`: checkpoints at thirds of a fixed schedule, the last weights being the result.

    On one processor the same spec gives the same weights, also when it goes on from the state of a training that was
    killed: `state.pt` in `folder`, written about every `save_seconds`.

    Raises:
        SpecError: the spec cannot be run, or a held-out image is among the samples.
        DivergedError: the loss is no number any more.
    """
    check(spec, processes=team.processes)
    compute = choose(spec.threads, rank=team.local_rank, processes=team.processes)
    classes = len(spec.classes) + 1
    channels = spec.network.channels
    labelled = data.load(spec.labelled, folder, channels=channels, classes=classes, masks=True)
    pseudo = data.load(spec.pseudo, folder, channels=channels, classes=classes, masks=True)
    unlabelled = data.load(unlabelled_of(spec), folder, channels=channels, classes=classes, masks=False)
    beginning, facts, began = _beginning(spec, folder, labelled)

    model = compute.place(beginning)
    streams = [labelled, pseudo, unlabelled]
    learner: nn.Module = model
    if spec.distil is None:
        take_step = STEPS[spec.step]
    else:
        learner, take_step, streams = teaching.begin(spec, folder, model, streams, compute)
    network = _shared(learner, spec) if team.processes > 1 else learner
    optimiser = OPTIMISERS[spec.optimiser](learner.parameters(), spec)
    schedule = LambdaLR(optimiser, lambda done: (1 - done / spec.steps) ** 0.9)
    draws = Draws.begin(spec.seed, rank=team.rank, device=compute.device)
    batches = _batches(spec, streams, draws, team=team, compute=compute)
    diary = Diary(steps=spec.steps, steps_per_epoch=_steps_per_epoch(spec), say=say)
    diary.began = began
    parts = Parts(learner, optimiser, schedule, diary, draws)
    keeper = Keeper(spec, folder, parts, team=team, seconds=save_seconds)
    thirds = {math.ceil(spec.steps * third / 3): f"checkpoint-{third}.pt" for third in (1, 2, 3)}

    network.train()
    for step in range(keeper.resume() + 1, spec.steps + 1):
        with compute.autocast():
            loss = take_step(network, next(batches), draws.augmentation)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        diary.note(step, loss)
        if step in thirds and team.rank == 0:
            checkpoint.save(model, facts, folder / thirds[step])
        keeper.keep(step)

    return TrainResult(
        checkpoint=thirds[spec.steps],
        checkpoints=tuple(thirds.values()),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=spec.steps,
        image_passes=spec.steps * sum(_shares(spec)),
        seconds=diary.pace.seconds(),
        device=str(compute),
        loss=diary.final_loss(),
        curve=tuple(diary.curve),
        began=diary.began,
        note=diary.remark,
    )


def check(spec: TrainSpec, *, processes: int) -> None:
    """Raises SpecError when the spec cannot be run as it stands."""
    refuse_held_out(spec)
    if spec.step not in STEPS:
        raise SpecError(f"step: expected one of {', '.join(STEPS)}, got {spec.step!r}")
    if spec.distil is not None:
        teaching.check(spec)
    if spec.start_from and spec.encoder_weights:
        raise SpecError("expected start_from or encoder_weights, got both; leave one of them out")
    if spec.optimiser not in OPTIMISERS:
        raise SpecError(f"optimiser: expected one of {', '.join(OPTIMISERS)}, got {spec.optimiser!r}")
    if not spec.labelled:
        raise SpecError("labelled: expected at least one labelled sample, got none; label some images first")
    if spec.steps < 1 or spec.crop < 32 or not spec.learning_rate > 0:
        raise SpecError(
            f"expected steps >= 1, crop >= 32 and learning_rate > 0, "
            f"got {spec.steps}, {spec.crop} and {spec.learning_rate}"
        )
    if spec.pseudo_weight < 0:
        raise SpecError(f"pseudo_weight: expected 0 or more, got {spec.pseudo_weight}")
    if spec.batch < processes or spec.batch % processes:
        raise SpecError(f"batch: expected a positive multiple of {processes} (processes), got {spec.batch}")


def refuse_held_out(spec: TrainSpec) -> None:
    """Raises SpecError when a validation or test image, by id or by file, would be trained on, or an id comes twice.

    Two ids may share a file: an exact copy among the imported images is an image of its own.
    """
    held_out = set(spec.held_out)
    seen: set[str] = set()
    for sample in (*spec.labelled, *spec.pseudo, *unlabelled_of(spec)):
        if met := held_out & {sample.id, sample.image}:
            raise SpecError(
                f"sample {sample.id}: expected training images only, got {met.pop()!r}, which is held out for "
                "validation or test; correct the split and prepare the round again"
            )
        if sample.id in seen:
            raise SpecError(f"sample {sample.id}: expected every id once, got it twice; remove one")
        seen.add(sample.id)


def unlabelled_of(spec: TrainSpec) -> tuple[Sample, ...]:
    """The images that only teachers are asked about."""
    return spec.distil.unlabelled if spec.distil else ()


def _beginning(spec: TrainSpec, folder: Path, labelled: data.Loaded) -> tuple[Segmenter, checkpoint.Facts, str]:
    """A fresh model, or the one to start from, with the normalisation its weights are used to, and which it was."""
    if spec.start_from is None:
        mean, std = data.mean_and_std(labelled)
        facts = checkpoint.Facts(network=spec.network, classes=spec.classes, mean=mean, std=std)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            model = facts.fresh()
        return model, facts, _encoder_beginning(spec, folder, model)
    model, facts = checkpoint.load(folder / spec.start_from, classes=spec.classes)
    if facts.network != spec.network:
        raise SpecError(
            f"start_from: expected a checkpoint of {spec.network}, got one of {facts.network}; "
            "choose another checkpoint, or the network it was trained for"
        )
    return model, facts, f"the weights of {spec.start_from}"


def _encoder_beginning(spec: TrainSpec, folder: Path, model: Segmenter) -> str:
    if spec.encoder_weights is None:
        return "from scratch"
    return encoders.begin(model.network, None if spec.encoder_weights == IMAGENET else folder / spec.encoder_weights)


def _shared(learner: nn.Module, spec: TrainSpec) -> DistributedDataParallel:
    """Among several processes; they must be told when a parameter may stay without a gradient."""
    idle = NETWORKS[spec.network.name].idle or spec.distil is not None
    return DistributedDataParallel(learner, find_unused_parameters=idle)


def _shares(spec: TrainSpec) -> tuple[int, int, int]:
    """Labelled, pseudo-labelled and unlabelled images of a step."""
    return spec.batch, spec.batch if spec.pseudo else 0, spec.batch if unlabelled_of(spec) else 0


def _steps_per_epoch(spec: TrainSpec) -> float:
    """An epoch is one pass over the stream that takes longest; the others start over meanwhile."""
    counts = (len(spec.labelled), len(spec.pseudo), len(unlabelled_of(spec)))
    return max(count / share for count, share in zip(counts, _shares(spec), strict=True) if share)


def _batches(
    spec: TrainSpec, loaded: Sequence[data.Loaded], draws: Draws, *, team: Team, compute: Compute
) -> Iterator[Batch]:
    """This process's part of every batch, for ever."""
    rng = draws.order
    streams = [
        (one, _shuffled_for_ever(len(one), share // team.processes, rng, waiting))
        for one, share, waiting in zip(loaded, _shares(spec), draws.waiting, strict=True)
    ]
    nothing = torch.zeros(0, spec.network.channels, spec.crop, spec.crop), torch.zeros(0, spec.crop, spec.crop), None
    while True:
        parts: list[tuple[Tensor, Tensor]] = []
        for one, stream in streams:
            images, masks, soft = data.random_crops(one, next(stream), spec.crop, rng) if len(one) else nothing
            images = images.to(compute.device, non_blocking=True).float().div(255)
            if soft is not None:
                images = torch.cat([images, soft.to(compute.device, non_blocking=True)], dim=1)
            parts.append((images.contiguous(memory_format=torch.channels_last), masks.to(compute.device)))
        yield Batch(*parts[0], *parts[1], pseudo_weight=spec.pseudo_weight, unlabelled=parts[2])


def _shuffled_for_ever(count: int, share: int, rng: np.random.Generator, waiting: list[int]) -> Iterator[list[int]]:
    """`share` indices at a time out of fresh permutations of `count`; the rest of the last one is in `waiting`."""
    while True:
        while len(waiting) < share:
            waiting += rng.permutation(count).tolist()
        drawn = waiting[:share]
        del waiting[:share]
        yield drawn
