"""The one training loop. Methods differ in their step (ml.steps), never here.

Several processes (torchrun) share a batch; each computes its part, and the first one speaks and writes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from ml import checkpoint, data, teaching, watch
from ml.augment import WEAK
from ml.checks import check
from ml.consistency import Guide
from ml.device import Compute, Team, choose
from ml.losses import LOSSES, Loss, weighted_cross_entropy
from ml.networks import NETWORKS, Segmenter, encoders
from ml.optimisation import encoder, moving_average, optimiser, schedule
from ml.progress import Diary, Say
from ml.resume import Draws, Keeper, Parts
from ml.spec import IGNORE, IMAGENET, SAVE_SECONDS, Sample, SpecError, TrainResult, TrainSpec
from ml.steps import STEPS, Batch, Step

Turn = Callable[[Batch, torch.Generator], Tensor]  # a step with its network


def train(
    spec: TrainSpec, folder: Path, *, say: Say, team: Team, save_seconds: float = SAVE_SECONDS, step: Step | None = None
) -> TrainResult:
    """What was left in `folder`: checkpoints at thirds of a schedule, the last of them being the result.

    On one processor the same spec gives the same weights, also when it goes on from the state of a training that was
    killed: `state.pt` in `folder`, written about every `save_seconds`. `step`: instead of the one the spec names.

    Raises:
        SpecError: the spec cannot be run, or a held-out image is among the samples.
        DivergedError: the loss is no number any more.
    """
    check(spec, processes=team.processes)
    spec, inner = watch.carve(spec)
    compute = choose(spec.threads, precision=spec.precision, rank=team.local_rank, processes=team.processes)
    load = partial(data.load, folder=folder, channels=spec.network.channels, classes=_classes(spec), cache=spec.cache)
    labelled, pseudo, looked_at = (load(some, masks=True) for some in (spec.labelled, spec.pseudo, inner))
    streams = [labelled, pseudo, data.without_truth(load(spec.unlabelled, masks=False))]
    beginning, facts, began = _beginning(spec, folder, labelled)
    model = compute.place(beginning)
    learner: nn.Module = model
    take_step = step or STEPS[spec.step]
    if spec.distil:
        learner, take_step, streams = teaching.begin(spec, folder, model, streams, compute)

    parts = _parts(spec, model, learner, (inner, looked_at), say=say, began=began, team=team, compute=compute)
    batches = _batches(spec, streams, parts.draws, parts.guide, team=team, compute=compute)
    keeper = Keeper(spec, folder, parts, team=team, seconds=save_seconds)
    thirds = {math.ceil(spec.steps * third / 3): f"checkpoint-{third}.pt" for third in (1, 2, 3)}
    outcome = _outcome(parts.average, model)
    leave: Callable[[Path], None] = partial(checkpoint.save, outcome, facts) if team.rank == 0 else lambda _: None

    done = begun = keeper.resume()
    while done < spec.steps and not parts.watch.over():
        done += 1
        if done in {begun + 1, spec.frozen_steps + 1}:
            network = _ready(learner, model, spec, frozen=done <= spec.frozen_steps, team=team)
        loss = _learn(partial(take_step, network), batches, parts, spec.accumulation, compute)
        if parts.average:
            parts.average.update_parameters(model)
        parts.diary.note(done, loss)
        if parts.watch.look(done) and spec.stop_after:
            leave(folder / thirds[spec.steps])
        if done in thirds and not (done == spec.steps and spec.stop_after):
            leave(folder / thirds[done])
        keeper.keep(done)
    return _result(spec, model, parts, done, thirds, compute)


def _parts(
    spec: TrainSpec, model: Segmenter, learner: nn.Module, looked_at: tuple[tuple[Sample, ...], data.Loaded], *,
    say: Say, began: str, team: Team, compute: Compute,
) -> Parts:  # fmt: skip
    """All that will change, as it is ahead of the first step.  looked_at: the inner validation and its pixels."""
    inner, loaded = looked_at
    average = moving_average(model, spec.average) if spec.average else None
    outcome = _outcome(average, model)
    optimise = optimiser(learner, spec, encoder_of=model)
    rate = schedule(optimise, spec)
    diary = Diary(steps=spec.steps, steps_per_epoch=_steps_per_epoch(spec), say=say, began=began)
    return Parts(
        learner=learner,
        average=average,
        optimiser=optimise,
        schedule=rate,
        scaler=compute.scaler(),
        watch=watch.Watch(spec, rate, _sight(spec, outcome, loaded, diary, compute), inner, team=team),
        guide=Guide(outcome, spec, device=compute.device, team=team),
        diary=diary,
        draws=Draws.begin(spec.seed, rank=team.rank, device=compute.device),
    )


def _outcome(average: AveragedModel | None, model: Segmenter) -> Segmenter:
    """Whose weights the training leaves."""
    return cast("Segmenter", average.module) if average else model


def _learn(step: Turn, batches: Iterator[Batch], parts: Parts, count: int, compute: Compute) -> Tensor:
    """One step of the optimiser by the mean gradient of so many batches; their mean loss."""
    loss = torch.zeros((), device=compute.device)
    for _ in range(count):
        with compute.autocast():
            part = step(next(batches), parts.draws.augmentation) / count
        parts.scaler.scale(part).backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
    parts.scaler.step(parts.optimiser)
    parts.scaler.update()
    parts.optimiser.zero_grad()
    if isinstance(parts.schedule, LambdaLR):  # plateau's moves by the looks
        parts.schedule.step()
    return loss


def _result(  # noqa: PLR0917 - what the training was and what is left of it
    spec: TrainSpec, model: Segmenter, parts: Parts, done: int, thirds: dict[int, str], compute: Compute
) -> TrainResult:
    diary, looks = parts.diary, parts.watch
    return TrainResult(
        checkpoint=thirds[spec.steps],
        checkpoints=tuple(name for third, name in thirds.items() if third <= done or third == spec.steps),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=done,
        image_passes=done * spec.passes_a_step,
        seconds=diary.pace.seconds(),
        device=str(compute),
        loss=diary.final_loss(),
        curve=tuple(diary.curve),
        began=diary.began,
        watched=looks.what,
        looks=tuple(looks.seen),
        note="; ".join(filter(None, (diary.remark, looks.remark()))),
    )


def _require_counted(labelled: data.Loaded) -> None:
    if all((mask == IGNORE).all() for mask in labelled.masks):
        raise SpecError("labelled: expected pixels that count, got masks of 255 (ignore) only; label some images first")


def _ready(learner: nn.Module, model: Segmenter, spec: TrainSpec, *, frozen: bool, team: Team) -> nn.Module:
    """What is trained, the model's encoder left as it is where frozen; shared by the processes.

    Made anew when the encoder thaws: DistributedDataParallel shares the gradients it finds wanted when it is made.
    """
    learner.train().requires_grad_(True)
    if frozen:
        encoder(model).eval().requires_grad_(False)
    if team.processes == 1:
        return learner
    # They must be told when a parameter may stay without a gradient.
    idle = NETWORKS[spec.network.name].idle or spec.distil is not None
    return DistributedDataParallel(learner, find_unused_parameters=idle)


def _sight(
    spec: TrainSpec, model: Segmenter, inner: data.Loaded, diary: Diary, compute: Compute
) -> Callable[[int], float]:
    """What a look after a step sees, higher is better: the mean IoU of the inner validation, or minus the loss."""

    def see(step: int) -> float:
        loss = diary.current(step)
        if not len(inner):
            return -loss
        return watch.mean_iou(model, inner, classes=_classes(spec), batch=spec.batch, compute=compute)

    return see


def _classes(spec: TrainSpec) -> int:
    return len(spec.classes) + 1


def _beginning(spec: TrainSpec, folder: Path, labelled: data.Loaded) -> tuple[Segmenter, checkpoint.Facts, str]:
    """A fresh model, or the one to start from, with the normalisation its weights are used to, and which it was."""
    _require_counted(labelled)
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


def _loss(spec: TrainSpec, compute: Compute) -> Loss:
    if not spec.class_weights:
        return LOSSES[spec.loss]
    return partial(weighted_cross_entropy, weights=torch.tensor(spec.class_weights, device=compute.device))


def _steps_per_epoch(spec: TrainSpec) -> float:
    """An epoch is one pass over the stream that takes longest; the others start over meanwhile."""
    counts = (len(spec.labelled), len(spec.pseudo), len(spec.unlabelled))
    return max(count / share for count, share in zip(counts, spec.shares, strict=True) if share)


def _batches(
    spec: TrainSpec, loaded: Sequence[data.Loaded], draws: Draws, guide: Guide, *, team: Team, compute: Compute
) -> Iterator[Batch]:
    """This process's part of every batch, for ever."""
    rng = draws.order
    loss = _loss(spec, compute)
    streams = [
        (one, _shuffled_for_ever(len(one), share // team.processes, rng, waiting))
        for one, share, waiting in zip(loaded, spec.shares, draws.waiting, strict=True)
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
        yield Batch(
            *parts[0], *parts[1], pseudo_weight=spec.pseudo_weight, loss=loss, unlabelled=parts[2],
            weak=WEAK[spec.weak], guide=guide,
        )  # fmt: skip


def _shuffled_for_ever(count: int, share: int, rng: np.random.Generator, waiting: list[int]) -> Iterator[list[int]]:
    """`share` indices at a time out of fresh permutations of `count`; the rest of the last one is in `waiting`."""
    while True:
        while len(waiting) < share:
            waiting += rng.permutation(count).tolist()
        drawn = waiting[:share]
        del waiting[:share]
        yield drawn
