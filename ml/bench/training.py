"""How much the training loop costs beside what it is for, and how much of the cores' rate it reaches.

For every network the loop itself (crops, augmentation, loss, optimiser, schedule, diary) and bare forward + backward
on a batch that lies ready take turns, step by step, in one run: whatever else the machine does meets both alike.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ml.bench import machine
from ml.device import Compute, Team, choose
from ml.losses import balanced_cross_entropy_and_dice
from ml.networks import NETWORKS, Segmenter, build
from ml.progress import Say
from ml.spec import NetworkSpec, Progress, Sample, SpecError, TrainSpec
from ml.steps import Batch, supervised
from ml.synthetic import CLASSES, Shot, photograph
from ml.train import train

SEED = 0


def measure(
    networks: Sequence[str], *, steps: int, size: int, batch: int, channels: int, threads: int,
    before: dict[str, Any], say: Say,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Figures of each network, JSON-ready, medians over the steps but the first two: all that are known after each one.

    networks: keys of ml.networks.NETWORKS; none = all of them.  size: of the pictures, pixels.
    before: what an earlier call yielded last, or nothing; its networks are not measured again where settings, commit
    and machine are the same.

    Raises:
        SpecError: there is no such network.
    """
    if unknown := [name for name in networks if name not in NETWORKS]:
        raise SpecError(f"networks: expected some of {', '.join(NETWORKS)}, got {', '.join(unknown)}")
    compute = choose(threads)
    on = machine.described(compute)
    told = {"size": size, "batch": batch, "channels": channels, "steps": steps, "seed": SEED}
    found = dict(before["networks"]) if before and _same(before, told, on) else {}
    wanted = [name for name in networks or NETWORKS if name not in found]
    yield {"machine": on, "measured": told, "networks": dict(found)}
    with tempfile.TemporaryDirectory() as place:
        samples = _surfaces(Path(place), count=4 * batch, size=size)
        for number, name in enumerate(wanted, start=1):
            spec = TrainSpec(
                classes=tuple(one["name"] for one in CLASSES), labelled=samples, steps=steps + 3, batch=batch,
                network=NetworkSpec(name=name, channels=channels), crop=size, threads=threads, seed=SEED,
            )  # fmt: skip
            found[name] = _figures(spec, Path(place), compute)
            say(Progress(step=number, steps=len(wanted), note=name))
            yield {"machine": on, "measured": told, "networks": dict(found)}


def _same(before: dict[str, Any], told: dict[str, Any], on: dict[str, Any]) -> bool:
    return before["measured"] == told and {**before["machine"], "load": on["load"]} == on


def table(figures: dict[str, Any]) -> str:
    """The figures as a page in Markdown."""
    lines = [
        "# The training loop against bare forward + backward",
        "",
        *_how(figures["measured"], figures["machine"]),
        "",
        "| network | loop, ms | bare, ms | loop / bare | (processor) | images/s | share | (processor) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {1e3 * one['loop_seconds']:.0f} | {1e3 * one['bare_seconds']:.0f} | {one['ratio']:.2f} | "
        f"{one['processor_ratio']:.2f} | {one['images_per_second']:.1f} | {100 * one['share_of_matrix_rate']:.0f} % | "
        f"{100 * one['processor_share_of_matrix_rate']:.0f} % |"
        for name, one in figures["networks"].items()
    ]
    return "\n".join(lines) + "\n"


def _how(told: dict[str, Any], on: dict[str, Any]) -> Iterator[str]:
    yield f"`python -m ml bench training`, commit {on['commit']}, seed {told['seed']}, {told['steps']} steps a network."
    yield f"{on['processor']}, {on['device']}, {on['threads']} threads, {on['precision']}, torch {on['torch']};"
    yield f"load when it began {on['load'][0]}. Batch {told['batch']} of {told['size']} x {told['size']} pixels,"
    yield f"channels: {told['channels']}. Loop and bare take turns step by step; medians of the wall clock, and their"
    yield "ratio in processor time too, which other programs disturb less. Bare: forward, the same loss, backward, on a"
    yield "batch that lies ready. Share: of the rate at which the same cores multiply matrices in between; convolutions"
    yield "and matrix products of the loop's step count; in processor time it is a share per core."


def _figures(spec: TrainSpec, folder: Path, compute: Compute) -> dict[str, float]:
    turns = _Turns(spec, compute)
    train(spec, folder, say=lambda _: None, team=Team(), step=turns.take)
    wall, processor = (_Medians.of(turns, which) for which in (0, 1))
    matrix_rate = turns.product_operations / wall.matrix
    processor_matrix_rate = turns.product_operations / processor.matrix
    return {
        "loop_seconds": wall.loop,
        "bare_seconds": wall.bare,
        "ratio": wall.ratio,
        "processor_ratio": processor.ratio,
        "images_per_second": spec.batch / wall.loop,
        "operations_per_step": turns.operations,
        "matrix_rate": matrix_rate,
        "share_of_matrix_rate": turns.operations / wall.loop / matrix_rate,
        "processor_share_of_matrix_rate": turns.operations / processor.loop / processor_matrix_rate,
    }


@dataclass(frozen=True)
class _Medians:
    """Over all turns but the first two, in which memory is first touched. ratio: of neighbours in time."""

    loop: float
    bare: float
    matrix: float
    ratio: float

    @classmethod
    def of(cls, turns: "_Turns", clock: int) -> "_Medians":
        loop, bare, matrix = ([one[clock] for one in spent[2:]] for spent in (turns.loop, turns.bare, turns.matrix))
        ratios = [a / b for a, b in zip(loop, bare, strict=True)]
        return cls(*map(statistics.median, (loop, bare, matrix, ratios)))


class _Turns:
    """A training step that first lets bare forward + backward, and a product of matrices, have their turn."""

    def __init__(self, spec: TrainSpec, compute: Compute) -> None:
        self.loop: list[machine.Clocks] = []
        self.bare: list[machine.Clocks] = []
        self.matrix: list[machine.Clocks] = []
        self._compute = compute
        self._resumed: machine.Clocks | None = None
        network = build(spec.network, len(spec.classes) + 1)
        flat = (0.5,) * spec.network.channels
        self._model = compute.place(Segmenter(network, mean=flat, std=flat)).train()
        images = torch.rand(spec.batch, spec.network.channels, spec.crop, spec.crop, device=compute.device)
        masks = torch.randint(len(spec.classes) + 1, (spec.batch, spec.crop, spec.crop), device=compute.device)
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._masks = masks
        self._product, self.product_operations = machine.multiplication(compute)
        with FlopCounterMode(display=False) as counter:
            self._forward_and_backward()
        self.operations = float(counter.get_total_flops())

    def take(self, model: nn.Module, batch: Batch, rng: torch.Generator) -> Tensor:
        """The step of `supervised`; called at the same point of every turn of the loop."""
        if self._resumed is not None:
            self.loop.append(machine.since(self._resumed, self._compute))
            for work, spent in ((self._forward_and_backward, self.bare), (self._product, self.matrix)):
                began = machine.now(self._compute)
                work()
                spent.append(machine.since(began, self._compute))
        self._resumed = machine.now(self._compute)
        return supervised(model, batch, rng)

    def _forward_and_backward(self) -> None:
        self._model.zero_grad()
        with self._compute.autocast():
            loss = balanced_cross_entropy_and_dice(self._model(self._images).float(), self._masks)
        loss.backward()  # type: ignore[no-untyped-call]


def _surfaces(folder: Path, *, count: int, size: int) -> tuple[Sample, ...]:
    samples = []
    for scene in range(count):
        grey, mask = photograph(Shot(scene, turns=0), size=size, seed=SEED)
        Image.fromarray(grey).save(folder / f"{scene}.png")
        Image.fromarray(mask).save(folder / f"{scene}-mask.png")
        samples.append(Sample(str(scene), f"{scene}.png", f"{scene}-mask.png"))
    return tuple(samples)
