"""Optimisers, and how the learning rate goes on: torch's own, by the names that a spec may give."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import ParamsT
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ml.networks import Segmenter
from ml.spec import ScheduleSpec, SpecError, TrainSpec

Tensors = tuple[Tensor, ...] | list[Tensor]


def sgd(parameters: ParamsT, spec: TrainSpec) -> Optimizer:
    """Stochastic gradient descent with momentum. Not fused: torch's cannot begin with parameters that were frozen."""
    return SGD(
        parameters, lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov,
        weight_decay=spec.weight_decay,
    )  # fmt: skip


def adam(parameters: ParamsT, spec: TrainSpec) -> Optimizer:
    """Adam, its weight decay part of the gradient."""
    return Adam(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)


def adamw(parameters: ParamsT, spec: TrainSpec) -> Optimizer:
    """Adam with decoupled weight decay."""
    return AdamW(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)


OPTIMISERS: dict[str, Callable[[ParamsT, TrainSpec], Optimizer]] = {"sgd": sgd, "adam": adam, "adamw": adamw}


def constant(share: float, done: int, spec: ScheduleSpec) -> float:
    """The rate as given."""
    return 1.0


def poly(share: float, done: int, spec: ScheduleSpec) -> float:
    """A power of what is left of the schedule (PPL: 0.9)."""
    return math.pow(1 - share, spec.power)


def cosine(share: float, done: int, spec: ScheduleSpec) -> float:
    """Half a wave, down to `spec.last` (FastSegFormer, with a warm-up)."""
    return spec.last + (1 - spec.last) * (1 + math.cos(math.pi * share)) / 2


def multistep(share: float, done: int, spec: ScheduleSpec) -> float:
    """Multiplied at every milestone (MFF-Metal: 0.5)."""
    return math.pow(spec.factor, sum(done >= milestone for milestone in spec.milestones))


# Factor of the learning rate: share in [0, 1) of the steps behind the warm-up that are done, and how many of all are.
SCHEDULES: dict[str, Callable[[float, int, ScheduleSpec], float]] = {
    "constant": constant,
    "poly": poly,
    "cosine": cosine,
    "multistep": multistep,
}
PLATEAU = "plateau"  # the one that depends on what is seen (MCFF-L and NEU-DET): ml.watch tells it


def optimiser(learner: nn.Module, spec: TrainSpec, *, encoder_of: Segmenter) -> Optimizer:
    """That of the spec over all parameters; the encoder, where it has a rate of its own, is a group of its own."""
    if spec.head_rate == 1:
        return OPTIMISERS[spec.optimiser](learner.parameters(), spec)
    inside = list(encoder(encoder_of).parameters())
    known = {id(parameter) for parameter in inside}
    head = [parameter for parameter in learner.parameters() if id(parameter) not in known]
    groups: list[dict[str, Any]] = [{"params": inside}, {"params": head, "lr": spec.learning_rate * spec.head_rate}]
    return OPTIMISERS[spec.optimiser](groups, spec)


def schedule(of: Optimizer, spec: TrainSpec) -> LRScheduler:
    """That of the spec; LambdaLR is to be stepped after every step, ReduceLROnPlateau (higher is better) at looks."""
    told = spec.schedule
    if told.name == PLATEAU:
        return ReduceLROnPlateau(
            of, mode="max", factor=told.factor, patience=told.patience, threshold=1e-4, threshold_mode="abs", eps=0.0
        )

    def factor(done: int) -> float:
        if done < told.warm_up:
            return (done + 1) / (told.warm_up + 1)
        return SCHEDULES[told.name]((done - told.warm_up) / (spec.steps - told.warm_up), done, told)

    return LambdaLR(of, factor)


def moving_average(model: Segmenter, decay: float) -> AveragedModel:
    """Of weights and of batch normalisation's figures; shorter at first, or it would remember how it began."""

    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        done = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + done) / (10 + done)))(averaged, current, count)  # type: ignore[no-untyped-call]

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def encoder(model: Segmenter) -> nn.Module:
    """The pretrained part of a network, which can be frozen or learn at its own rate.

    Raises:
        SpecError: the network has none.
    """
    found = getattr(model.network, "encoder", None)
    if not isinstance(found, nn.Module):
        raise SpecError(
            f"frozen_steps, head_rate: expected a network with an encoder, got {type(model.network).__name__}, "
            "which has none; leave them at 0 and 1, or choose another network"
        )
    return found
