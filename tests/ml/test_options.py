"""The options of a training: each does what it says, and nothing impossible is begun."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim import lr_scheduler

from ml import checkpoint, watch
from ml.checks import check
from ml.device import Team
from ml.networks import Segmenter
from ml.optimisation import SCHEDULES, moving_average, optimiser, schedule
from ml.spec import IGNORE, ScheduleSpec, SpecError
from ml.steps import supervised
from ml.train import train


def _train(spec, folder, **options):
    folder.mkdir(exist_ok=True)
    return train(spec, folder, say=lambda _: None, team=Team(), **options)


def _weights(folder, name="checkpoint-3.pt"):
    return torch.load(folder / name, weights_only=True)["weights"]


def _model():
    torch.manual_seed(0)
    return Segmenter(torch.nn.Conv2d(1, 3, 1), mean=(0.0,), std=(1.0,))


def _optimiser(model, spec):
    return optimiser(model, spec, encoder_of=model)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"optimiser": "sgd", "momentum": 0.7, "nesterov": True}, {"momentum": 0.7, "nesterov": True}),
        ({"optimiser": "adam"}, {"betas": (0.9, 0.999), "decoupled_weight_decay": False}),
        ({"optimiser": "adamw"}, {"betas": (0.9, 0.999), "decoupled_weight_decay": True}),
    ],
)
def test_an_optimiser_is_torchs_own_with_the_settings_of_the_spec(tiny_training, options, expected):
    spec = dataclasses.replace(tiny_training, learning_rate=0.3, weight_decay=0.02, **options)

    (group,) = _optimiser(_model(), spec).param_groups

    assert {"lr": 0.3, "weight_decay": 0.02, **expected}.items() <= group.items()


def _rates(made, of, steps):
    rates = []
    for _ in range(steps):
        rates.append(of.param_groups[0]["lr"])
        of.step()
        made.step()
    return rates


@pytest.mark.parametrize(
    ("told", "torchs_own"),
    [
        (ScheduleSpec("constant"), lambda of, _: lr_scheduler.ConstantLR(of, factor=1.0)),
        (ScheduleSpec("poly", power=0.9), lambda of, n: lr_scheduler.PolynomialLR(of, total_iters=n, power=0.9)),
        (ScheduleSpec("poly", power=2.0), lambda of, n: lr_scheduler.PolynomialLR(of, total_iters=n, power=2.0)),
        (ScheduleSpec("cosine"), lambda of, n: lr_scheduler.CosineAnnealingLR(of, T_max=n)),
        (ScheduleSpec("cosine", last=0.1), lambda of, n: lr_scheduler.CosineAnnealingLR(of, T_max=n, eta_min=0.02)),
        (
            ScheduleSpec("multistep", milestones=(7, 20), factor=0.3),
            lambda of, _: lr_scheduler.MultiStepLR(of, milestones=(7, 20), gamma=0.3),
        ),
    ],
    ids=lambda told: told.name if isinstance(told, ScheduleSpec) else "",
)
def test_a_schedule_is_the_one_torch_knows_by_that_name(tiny_training, told, torchs_own):
    spec = dataclasses.replace(tiny_training, steps=30, learning_rate=0.2, schedule=told)
    ours, theirs = (_optimiser(_model(), spec) for _ in range(2))

    assert _rates(schedule(ours, spec), ours, 30) == pytest.approx(_rates(torchs_own(theirs, 30), theirs, 30))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_warm_up_rises_in_equal_steps_to_the_rate_of_the_schedule(tiny_training, name):
    told = ScheduleSpec(name, warm_up=4, milestones=(9,))
    spec = dataclasses.replace(tiny_training, steps=14, learning_rate=1.0, schedule=told)
    of = _optimiser(_model(), spec)

    rates = _rates(schedule(of, spec), of, 14)

    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(before >= after for before, after in itertools.pairwise(rates[4:]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimiser": "lion"}, "optimiser: expected one of sgd, adam, adamw, got 'lion'"),
        ({"loss": "hinge"}, "loss: expected one of cross_entropy, .*, got 'hinge'"),
        ({"precision": "fp8"}, "precision: expected one of auto, fp32, bf16, fp16, got 'fp8'"),
        ({"schedule": ScheduleSpec("step")}, "schedule.name: expected one of constant, .*, plateau, got 'step'"),
        ({"momentum": 1.0}, "momentum: expected 0 up to below 1, got 1.0; correct it"),
        ({"momentum": 0.0, "nesterov": True}, "momentum: expected more than 0 for nesterov"),
        ({"weight_decay": -1.0}, "weight_decay: expected 0 or more"),
        ({"weight_decay": math.nan}, "weight_decay: expected 0 or more, got nan"),
        ({"head_rate": 0.0}, "head_rate: expected more than 0"),
        ({"accumulation": 0}, "accumulation: expected 1 or more"),
        ({"frozen_steps": 4}, r"frozen_steps: expected 0 to 3 \(steps\), got 4"),
        ({"average": 1.0}, "average: expected 0 up to below 1"),
        ({"inner_validation": 1.0}, "inner_validation: expected 0 up to below 1"),
        ({"look_every": 0}, "look_every: expected 1 or more"),
        ({"stop_after": 3}, "inner_validation: expected a share for stop_after to look at, got 0.0"),
        ({"class_weights": (1.0, 2.0), "loss": "cross_entropy"}, "class_weights: expected 3 numbers"),
        ({"class_weights": (1.0, -2.0, 1.0), "loss": "cross_entropy"}, "class_weights: expected 3 numbers"),
        ({"class_weights": (1.0, 2.0, 1.0)}, "loss: expected cross_entropy, which takes class_weights"),
        ({"schedule": ScheduleSpec(warm_up=3)}, "schedule.warm_up: expected 0 up to below 3"),
        ({"schedule": ScheduleSpec("plateau", warm_up=1)}, "schedule.warm_up: expected 0 before plateau"),
        ({"schedule": ScheduleSpec("multistep")}, "schedule.milestones: expected steps between 0 and 3"),
        ({"schedule": ScheduleSpec("multistep", milestones=(1, 3))}, "schedule.milestones: expected steps"),
        ({"schedule": ScheduleSpec(factor=1.0)}, "schedule.factor: expected more than 0 and less than 1"),
    ],
)
def test_what_is_unknown_or_impossible_is_refused_in_a_sentence(tiny_training, change, sentence):
    with pytest.raises(SpecError, match=sentence):
        check(dataclasses.replace(tiny_training, **change), processes=1)


def test_a_frozen_encoder_stays_as_it_began_and_learns_from_then_on(tiny_training, tmp_path, with_encoder):
    spec = dataclasses.replace(tiny_training, steps=6)
    folders = {frozen: tmp_path / str(frozen) for frozen in (0, 4, 6)}
    for frozen, folder in folders.items():
        _train(dataclasses.replace(spec, frozen_steps=frozen), folder)

    early, late = (_weights(folders[4], f"checkpoint-{third}.pt") for third in (2, 3))
    encoder = [name for name in early if name.startswith("encoder")]
    assert {"encoder.0.weight", "encoder.1.running_mean"} <= set(encoder)
    assert all(torch.equal(early[name], _weights(folders[6])[name]) for name in encoder)
    assert not any(torch.equal(early[name], late[name]) for name in encoder)
    assert not torch.equal(early["classify.weight"], late["classify.weight"])
    assert early["encoder.1.num_batches_tracked"] == 0
    assert _weights(folders[0])["encoder.1.num_batches_tracked"] == 6


@pytest.mark.parametrize("change", [{"frozen_steps": 1}, {"head_rate": 10.0}])
def test_a_network_without_an_encoder_cannot_have_it_frozen(tiny_training, tmp_path, change):
    with pytest.raises(SpecError, match="expected a network with an encoder, got UNet, which has none; leave"):
        _train(dataclasses.replace(tiny_training, **change), tmp_path / "run")


def test_what_is_no_encoder_learns_at_the_heads_rate(tiny_training, with_encoder):
    spec = dataclasses.replace(tiny_training, learning_rate=0.1, head_rate=10.0)
    model = checkpoint.Facts(network=spec.network, classes=spec.classes, mean=(0.0,), std=(1.0,)).fresh()

    backbone, head = _optimiser(model, spec).param_groups

    assert (backbone["lr"], head["lr"]) == (0.1, 1.0)
    assert [p.shape for p in head["params"]] == [p.shape for p in model.network.classify.parameters()]
    assert len(backbone["params"]) + len(head["params"]) == len(list(model.parameters()))


def test_class_weights_weigh_the_cross_entropy(tiny_training, tmp_path):
    plain = dataclasses.replace(tiny_training, loss="cross_entropy")
    for name, weights in (("none", ()), ("ones", (1.0, 1.0, 1.0)), ("others", (1.0, 9.0, 1.0))):
        _train(dataclasses.replace(plain, class_weights=weights), tmp_path / name)

    none, ones, others = (_weights(tmp_path / name)["classify.weight"] for name in ("none", "ones", "others"))
    torch.testing.assert_close(ones, none)
    assert (others - none).abs().max() > 1e-3


def test_accumulated_batches_make_one_step_along_their_mean_gradient(tiny_training, tmp_path):
    spec = dataclasses.replace(
        tiny_training, steps=2, accumulation=3, learning_rate=0.1, momentum=0.0, weight_decay=0.0,
        schedule=ScheduleSpec("constant"),
    )  # fmt: skip
    slopes = iter([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    before = []

    def step(model, batch, rng):
        parameter = model.network.classify.bias
        before.append(parameter.detach().clone())
        return next(slopes) * parameter.sum() + sum(0 * p.sum() for p in model.parameters())

    result = _train(spec, tmp_path / "run", step=step)

    assert result.image_passes == 2 * 3 * 8
    torch.testing.assert_close(before[3], before[0] - 0.1 * 3.0)
    torch.testing.assert_close(_weights(tmp_path / "run")["classify.bias"], before[0] - 0.1 * (3.0 + 1.0))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_runs_in_the_number_format_that_was_asked_for(tiny_training, tmp_path, precision, recwarn):
    seen = set()
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, out: seen.add(out.dtype) if isinstance(module, torch.nn.Conv2d) else None
    )

    result = _train(dataclasses.replace(tiny_training, precision=precision), tmp_path / "run")

    handle.remove()
    assert result.device.split()[1] == precision
    assert seen == {{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert {value.dtype for value in _weights(tmp_path / "run").values()} == {torch.float32, torch.int64}
    assert math.isfinite(result.loss)
    assert not recwarn.list


def test_the_moving_average_forgets_how_it_began():
    model = _model()
    average = moving_average(model, 0.9)
    expected, decays = None, [min(0.9, (1 + done) / (10 + done)) for done in range(200)]

    for done in range(200):
        with torch.no_grad():
            model.network.weight.fill_(float(done))
        average.update_parameters(model)
        expected = done if expected is None else decays[done] * expected + (1 - decays[done]) * done

    assert average.module.network.weight[0].item() == pytest.approx(expected, rel=1e-5)
    assert expected > 185


def test_with_a_moving_average_it_is_the_result(tiny_training, tmp_path):
    weights = []

    def step(model, batch, rng):
        weights.append(model.network.classify.weight.detach().clone())
        return supervised(model, batch, rng)

    _train(dataclasses.replace(tiny_training, average=0.5, steps=4), tmp_path / "run", step=step)
    _train(dataclasses.replace(tiny_training, steps=4), tmp_path / "plain")

    _, expected, *later = *weights, _weights(tmp_path / "plain")["classify.weight"]
    for done, now in enumerate(later, start=1):
        decay = min(0.5, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * now
    torch.testing.assert_close(_weights(tmp_path / "run")["classify.weight"], expected)


def _told(tiny_training, scenes, **options):
    """The tiny training with these scenes, first of the labelled and then of the pseudo-labelled samples."""
    samples = [
        dataclasses.replace(one, scene=scene)
        for one, scene in zip(tiny_training.labelled + tiny_training.pseudo, scenes, strict=True)
    ]
    return dataclasses.replace(tiny_training, labelled=tuple(samples[:4]), pseudo=tuple(samples[4:]), **options)


@pytest.mark.parametrize("seed", range(5))
def test_an_inner_validation_shares_no_scene_with_what_is_trained_on(tiny_training, seed):
    spec = _told(tiny_training, "aabcabbd", inner_validation=0.3, seed=seed)

    rest, inner = watch.carve(spec)

    assert len({one.scene for one in inner}) == 1
    assert set(inner) | set(rest.labelled) == set(spec.labelled)
    assert not {one.scene for one in inner} & {one.scene for one in (*rest.labelled, *rest.pseudo)}
    assert watch.carve(spec) == (rest, inner)


@pytest.mark.parametrize(
    ("scenes", "sentence"),
    [
        (["a", "a", "a", "a", "b", "b", "b", "b"], "expected labelled samples of two scenes or more, got 1"),
        (["a", "b", "c", "d", "a", None, "b", "b"], "expected the scene of every sample, s5 has none; give it"),
    ],
)
def test_an_inner_validation_that_would_leak_or_leave_nothing_is_refused(tiny_training, scenes, sentence):
    with pytest.raises(SpecError, match=sentence):
        watch.carve(_told(tiny_training, scenes, inner_validation=0.3))


def test_an_inner_validation_of_ignored_pixels_is_refused(tiny_training, tmp_path):
    spec = dataclasses.replace(tiny_training, inner_validation=0.3, look_every=1, pseudo=())
    for one in watch.carve(spec)[1]:
        Image.fromarray(np.full((40, 40), IGNORE, np.uint8)).save(one.mask)

    with pytest.raises(SpecError, match="inner_validation: expected counted pixels, got masks of 255"):
        _train(spec, tmp_path / "run")


def test_labels_of_nothing_but_ignored_pixels_are_no_training(tiny_training, tmp_path):
    for one in tiny_training.labelled:
        Image.fromarray(np.full((40, 40), IGNORE, np.uint8)).save(one.mask)

    with pytest.raises(SpecError, match="labelled: expected pixels that count, got masks of 255"):
        _train(tiny_training, tmp_path / "run")


def test_a_training_stops_when_looks_are_no_better_and_leaves_the_weights_of_the_best(
    tiny_training, tmp_path, monkeypatch
):
    seen = iter([0.3, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(watch, "mean_iou", lambda *_, **__: next(seen))
    spec = dataclasses.replace(tiny_training, inner_validation=0.3, steps=30, schedule=ScheduleSpec("constant"))

    result = _train(dataclasses.replace(spec, look_every=3, stop_after=2), tmp_path / "stopped")
    monkeypatch.undo()
    _train(dataclasses.replace(spec, steps=6), tmp_path / "whole")

    assert (result.steps, result.checkpoint, result.checkpoints) == (
        12,
        "checkpoint-3.pt",
        ("checkpoint-1.pt", "checkpoint-3.pt"),
    )
    assert result.looks == ((3, 0.3), (6, 0.5), (9, 0.4), (12, 0.5))
    assert result.note == "stopped at step 12 of 30: best at step 6 (0.5000)"
    assert result.watched == "mIoU of 1 images of 1 scenes kept from training"
    best, expected = _weights(tmp_path / "stopped"), _weights(tmp_path / "whole")
    assert all(torch.equal(best[name], expected[name]) for name in best)


def test_looking_changes_nothing_that_is_learnt(tiny_training, tmp_path):
    spec = dataclasses.replace(tiny_training, inner_validation=0.3)
    rest, _ = watch.carve(spec)

    result = _train(dataclasses.replace(spec, look_every=1), tmp_path / "looked")
    _train(dataclasses.replace(rest, inner_validation=0.0), tmp_path / "blind")

    assert len(result.looks) == 3
    looked, blind = (_weights(tmp_path / name) for name in ("looked", "blind"))
    assert all(torch.equal(looked[name], blind[name]) for name in looked)


@pytest.mark.parametrize("inner", [0.0, 0.3])
def test_on_a_plateau_the_rate_is_lowered_by_what_the_result_names(tiny_training, tmp_path, monkeypatch, inner):
    monkeypatch.setattr(watch, "mean_iou", lambda *_, **__: 0.5)
    rates = []
    monkeypatch.setattr("ml.train.schedule", lambda of, spec: rates.append(of.param_groups) or schedule(of, spec))
    spec = dataclasses.replace(
        tiny_training, steps=8, look_every=1, inner_validation=inner, learning_rate=1e-9,
        schedule=ScheduleSpec("plateau", factor=0.1, patience=2),
    )  # fmt: skip

    def step(model, batch, rng):  # the loss never changes
        return 1.0 + sum(0 * p.sum() for p in model.parameters())

    result = _train(spec, tmp_path / "run", step=step)

    assert result.watched.startswith("mIoU of 1" if inner else "training loss")
    assert result.steps == len(result.looks) == 8
    assert rates[0][0]["lr"] == pytest.approx(1e-11), "looks 4 and 7 were the third in a row without a better one"


def test_a_loss_that_is_no_number_is_no_plateau(tiny_training, tmp_path):
    from ml.progress import DivergedError

    spec = dataclasses.replace(tiny_training, steps=400, inner_validation=0.3, look_every=1)

    with pytest.raises(DivergedError):
        _train(spec, tmp_path / "run", step=lambda model, *_: sum(p.sum() for p in model.parameters()) * math.nan)
