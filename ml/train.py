"""The one training loop. Methods differ in their step (ml.steps), never here.

Several processes (torchrun) share a batch; each computes its part, and the first one speaks and writes.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from ml import checkpoint, data, watch
from ml.checks import check
from ml.device import Compute, Team, choose
from ml.losses import LOSSES, Loss, weighted_cross_entropy
from ml.networks import Segmenter
from ml.optimisation import encoder, moving_average, optimiser, schedule
from ml.progress import Diary, Say
from ml.resume import Draws, Keeper, Parts
from ml.spec import IGNORE, SAVE_SECONDS, SpecError, TrainResult, TrainSpec
from ml.steps import STEPS, Batch, Step


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
    load = partial(
        data.load, folder=folder, channels=spec.network.channels, classes=_classes(spec), masks=True, cache=spec.cache
    )
    labelled, pseudo, looked_at = load(spec.labelled), load(spec.pseudo), load(inner)
    _require_counted(labelled)
    beginning, facts = _beginning(spec, folder, labelled)

    model = compute.place(beginning)
    average = moving_average(model, spec.average) if spec.average else None
    result = cast("Segmenter", average.module) if average else model
    optimise = optimiser(model, spec)
    rate = schedule(optimise, spec)
    scaler = compute.scaler()
    draws = Draws.begin(spec.seed, rank=team.rank, device=compute.device)
    batches = _batches(spec, labelled, pseudo, draws, team=team, compute=compute)
    diary = Diary(steps=spec.steps, steps_per_epoch=_steps_per_epoch(spec), say=say)
    looks = watch.Watch(spec, rate, _sight(spec, result, looked_at, diary, compute), inner, team=team)
    parts = Parts(model, average, optimise, rate, scaler, looks, diary, draws)
    keeper = Keeper(spec, folder, parts, team=team, seconds=save_seconds)
    take_step = step or STEPS[spec.step]
    thirds = {math.ceil(spec.steps * third / 3): f"checkpoint-{third}.pt" for third in (1, 2, 3)}
    leave: Callable[[Path], None] = partial(checkpoint.save, result, facts) if team.rank == 0 else lambda _: None

    done = begun = keeper.resume()
    while done < spec.steps and not looks.over():
        done += 1
        if done in {begun + 1, spec.frozen_steps + 1}:
            network = _ready(model, frozen=done <= spec.frozen_steps, team=team)
        loss = torch.zeros((), device=compute.device)
        for _ in range(spec.accumulation):
            with compute.autocast():
                part = take_step(network, next(batches), draws.augmentation) / spec.accumulation
            scaler.scale(part).backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        scaler.step(optimise)
        scaler.update()
        optimise.zero_grad()
        if isinstance(rate, LambdaLR):
            rate.step()
        if average:
            average.update_parameters(model)
        diary.note(done, loss)
        if looks.look(done) and spec.stop_after:
            leave(folder / thirds[spec.steps])
        if done in thirds and not (done == spec.steps and spec.stop_after):
            leave(folder / thirds[done])
        keeper.keep(done)

    return TrainResult(
        checkpoint=thirds[spec.steps],
        checkpoints=tuple(name for third, name in thirds.items() if third <= done or third == spec.steps),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=done,
        image_passes=done * spec.accumulation * sum(_shares(spec)),
        seconds=diary.pace.seconds(),
        device=str(compute),
        loss=diary.final_loss(),
        curve=tuple(diary.curve),
        watched=looks.what,
        looks=tuple(looks.seen),
        note="; ".join(filter(None, (diary.remark, looks.remark()))),
    )


def _require_counted(labelled: data.Loaded) -> None:
    if all((mask == IGNORE).all() for mask in labelled.masks):
        raise SpecError("labelled: expected pixels that count, got masks of 255 (ignore) only; label some images first")


def _ready(model: Segmenter, *, frozen: bool, team: Team) -> nn.Module:
    """The model to be trained, its encoder left as it is where frozen; shared by the processes.

    Made anew when the encoder thaws: DistributedDataParallel shares the gradients it finds wanted when it is made.
    """
    model.train().requires_grad_(True)
    if frozen:
        encoder(model).eval().requires_grad_(False)
    return DistributedDataParallel(model) if team.processes > 1 else model


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


def _beginning(spec: TrainSpec, folder: Path, labelled: data.Loaded) -> tuple[Segmenter, checkpoint.Facts]:
    """A fresh model, or the one to start from, with the normalisation its weights are used to."""
    if spec.start_from is None:
        mean, std = data.mean_and_std(labelled)
        facts = checkpoint.Facts(network=spec.network, classes=spec.classes, mean=mean, std=std)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            return facts.fresh(), facts
    model, facts = checkpoint.load(folder / spec.start_from, classes=spec.classes)
    if facts.network != spec.network:
        raise SpecError(
            f"start_from: expected a checkpoint of {spec.network}, got one of {facts.network}; "
            "choose another checkpoint, or the network it was trained for"
        )
    return model, facts


def _loss(spec: TrainSpec, compute: Compute) -> Loss:
    if not spec.class_weights:
        return LOSSES[spec.loss]
    return partial(weighted_cross_entropy, weights=torch.tensor(spec.class_weights, device=compute.device))


def _shares(spec: TrainSpec) -> tuple[int, int]:
    """Labelled and pseudo-labelled images of a step."""
    return spec.batch, spec.batch if spec.pseudo else 0


def _steps_per_epoch(spec: TrainSpec) -> float:
    """An epoch is one pass over the stream that takes longer; the other one starts over meanwhile."""
    labelled, pseudo = _shares(spec)
    return max(len(spec.labelled) / labelled, len(spec.pseudo) / pseudo if pseudo else 0)


def _batches(
    spec: TrainSpec, labelled: data.Loaded, pseudo: data.Loaded, draws: Draws, *, team: Team, compute: Compute
) -> Iterator[Batch]:
    """This process's part of every batch, for ever."""
    rng = draws.order
    loss = _loss(spec, compute)
    streams = [
        (loaded, _shuffled_for_ever(len(loaded), share // team.processes, rng, waiting))
        for loaded, share, waiting in zip((labelled, pseudo), _shares(spec), draws.waiting, strict=True)
    ]
    nothing = torch.zeros(0, spec.network.channels, spec.crop, spec.crop), torch.zeros(0, spec.crop, spec.crop)
    while True:
        parts: list[tuple[Tensor, Tensor]] = []
        for loaded, stream in streams:
            images, masks = data.random_crops(loaded, next(stream), spec.crop, rng) if len(loaded) else nothing
            images = images.to(compute.device, non_blocking=True).float().div(255)
            parts.append((images.contiguous(memory_format=torch.channels_last), masks.to(compute.device)))
        yield Batch(*parts[0], *parts[1], pseudo_weight=spec.pseudo_weight, loss=loss)


def _shuffled_for_ever(count: int, share: int, rng: np.random.Generator, waiting: list[int]) -> Iterator[list[int]]:
    """`share` indices at a time out of fresh permutations of `count`; the rest of the last one is in `waiting`."""
    while True:
        while len(waiting) < share:
            waiting += rng.permutation(count).tolist()
        drawn = waiting[:share]
        del waiting[:share]
        yield drawn
