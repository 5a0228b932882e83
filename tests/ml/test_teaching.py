"""Students that learn from teachers through the one training loop."""

import dataclasses
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from ml import checkpoint, data, teaching
from ml.__main__ import main
from ml.device import Team, choose
from ml.distillation import LESSONS, STRATEGIES
from ml.networks.contract import Outputs
from ml.spec import DistilSpec, Lesson, NetworkSpec, SpecError, TrainResult, TrainSpec, read, to_json, write
from ml.steps import Batch
from ml.train import train

CLASSES = ("square", "disc")
TEACHER = NetworkSpec("unet", width=4)
ROOT = Path(__file__).parents[2]
# What every process of a team imports as it starts: each then leaves its own parameters after each step as RANK-STEP.pt.
WATCHED = """
import os
if "RANK" in os.environ:
    import torch
    from ml import resume
    keep = resume.Keeper.keep

    def watched(self, step):
        learnt = dict(self._parts.learner.named_parameters())
        torch.save(learnt, f"{os.environ['WATCHED']}/{self._team.rank}-{step}.pt")
        keep(self, step)

    resume.Keeper.keep = watched
"""
LEAN = {"network": NetworkSpec("lean", width=2)}  # it has maps to show


@pytest.fixture
def teacher(tmp_path):
    """Makes a checkpoint of random weights that is sure of what it says; its path."""

    def make(network=TEACHER, seed=0):
        facts = checkpoint.Facts(
            network=network, classes=CLASSES, mean=(0.5,) * network.channels, std=(0.2,) * network.channels
        )
        torch.manual_seed(seed)
        model = facts.fresh()
        for _ in range(10):  # batch normalisation finds its figures
            model.train()(torch.rand(4, network.channels, 32, 32))
        path = tmp_path / f"teacher-{network.name}-{network.channels}-{seed}.pt"
        checkpoint.save(model, facts, path)
        return str(path)

    return make


@pytest.fixture
def spec(toy, teacher):
    """Two labelled and four unlabelled images, a teacher of the student's kind but wider, three steps."""
    samples = [dataclasses.replace(one, scene=str(number % 3)) for number, one in enumerate(toy(6))]
    unlabelled = tuple(dataclasses.replace(one, mask=None) for one in samples[2:])
    return TrainSpec(
        classes=CLASSES, labelled=tuple(samples[:2]), network=NetworkSpec("half_unet", width=2), steps=3, batch=2, crop=32,
        threads=1, distil=DistilSpec(teachers=(teacher(),)), unlabelled=unlabelled,
    )  # fmt: skip


def _distil(spec, folder, **changes):
    folder.mkdir(exist_ok=True)
    spec = dataclasses.replace(spec, distil=dataclasses.replace(spec.distil, **changes))
    return train(spec, folder, say=lambda _: None, team=Team(), save_seconds=0.0)


def _weights(folder):
    return torch.load(folder / "checkpoint-3.pt", weights_only=True)["weights"]


def _agreement(folder, spec):
    """Share of the pixels of the unlabelled images that student and teacher call the same."""
    loaded = data.load(spec.unlabelled, folder, channels=1, classes=3, masks=False)
    pictures = torch.stack(loaded.images).float() / 255
    paths = (folder / "checkpoint-3.pt", spec.distil.teachers[0])
    with torch.no_grad():
        student, told = (checkpoint.load(folder / path, classes=CLASSES)[0](pictures).argmax(1) for path in paths)
    return float((student == told).float().mean())


@pytest.mark.parametrize("loss", LESSONS)
def test_every_lesson_trains_a_student_from_labelled_and_unlabelled_images(spec, teacher, tmp_path, loss):
    network = NetworkSpec("mff_metal", width=12)
    student = dataclasses.replace(spec, network=network)

    result = _distil(student, tmp_path / "run", teachers=(teacher(network),), lessons=(Lesson(loss),))

    assert result.image_passes == 3 * (2 + 2)
    assert torch.isfinite(torch.tensor(result.loss))


def test_a_student_comes_to_say_of_unlabelled_images_what_its_teacher_says(spec, tmp_path):
    longer = dataclasses.replace(spec, steps=60, optimiser="adamw", learning_rate=0.01)

    _distil(longer, tmp_path / "alone", lessons=(Lesson(weight=0.0),))
    _distil(longer, tmp_path / "taught", label_weight=0.0)

    assert _agreement(tmp_path / "taught", longer) > _agreement(tmp_path / "alone", longer) + 0.2


@pytest.mark.parametrize("options", [{}, {"average": 0.5, "accumulation": 2, "inner_validation": 0.5, "look_every": 2}])
def test_a_distillation_that_was_killed_comes_to_the_same_weights_projections_included(
    spec, teacher, tmp_path, options
):
    lessons = (Lesson("normalised_features"), Lesson("kl", temperature=2.0))
    wider = (teacher(NetworkSpec("lean", width=4)),)
    told = dataclasses.replace(
        spec, **LEAN, **options, steps=6, distil=dataclasses.replace(spec.distil, lessons=lessons, teachers=wider)
    )
    _distil(told, tmp_path / "whole")

    class Killed(BaseException):
        pass

    def until(progress):
        if progress.step >= 3:
            raise Killed

    (tmp_path / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("ml.progress.Pace.due", lambda *_: True)
        train(told, tmp_path / "run", say=until, team=Team(), save_seconds=0.0)
    state = torch.load(io.BytesIO((tmp_path / "run" / "state.pt").read_bytes()[32:]), weights_only=True)
    assert any(key.startswith("project.") for key in state["parts"]["learner"])
    result = train(told, tmp_path / "run", say=lambda _: None, team=Team(), save_seconds=0.0)

    assert result.note.startswith("resumed at step 2")
    whole, run = _weights(tmp_path / "whole"), _weights(tmp_path / "run")
    assert all(torch.equal(whole[key], run[key]) for key in whole)
    assert not any(key.startswith("project.") for key in whole)


def _begun(spec, folder, **changes):
    """The student, its step and a batch of the size of the labelled images."""
    spec = dataclasses.replace(spec, distil=dataclasses.replace(spec.distil, **changes))
    facts = checkpoint.Facts(network=spec.network, classes=CLASSES, mean=(0.5,), std=(0.2,))
    torch.manual_seed(0)
    streams = [
        data.load(some, folder, channels=1, classes=3, masks=masks)
        for some, masks in ((spec.labelled, True), ((), True), (spec.unlabelled, False))
    ]
    streams[2] = data.without_truth(streams[2])
    return teaching.begin(spec, folder, facts.fresh(), streams, choose(1))


def test_the_projections_are_learnt(spec, teacher, tmp_path):
    student, step, streams = _begun(
        dataclasses.replace(spec, **LEAN), tmp_path,
        lessons=(Lesson("normalised_features"),), teachers=(teacher(NetworkSpec("lean", width=4)),),
    )  # fmt: skip

    step(student.train(), _batch(streams), torch.Generator()).backward()

    assert all(one.grad.abs().sum() > 0 for one in student.project.parameters() if one.ndim == 4)


def _batch(streams):
    """The whole images, which stay as they are."""
    labelled, _, unlabelled = streams
    pictures = [torch.stack(one.images).float() / 255 for one in (labelled, unlabelled)]
    if unlabelled.soft:
        pictures = [
            torch.cat([p, torch.stack(one.soft).float()], 1)
            for p, one in zip(pictures, (labelled, unlabelled), strict=True)
        ]
    masks = [torch.stack(one.masks) for one in (labelled, unlabelled)]
    nothing = torch.zeros(0, 1, 40, 40), torch.zeros(0, 40, 40)
    return Batch(
        pictures[0],
        masks[0],
        *nothing,
        pseudo_weight=0.5,
        unlabelled=(pictures[1], masks[1]),
        weak=lambda *one: one[:2],
    )


@pytest.mark.parametrize("loss", ["kl", "channels", "labels"])
def test_what_was_asked_once_teaches_what_asking_every_time_does(spec, tmp_path, loss):
    lessons = (Lesson(loss),)
    losses = []
    for cached in (False, True):
        student, step, streams = _begun(spec, tmp_path, lessons=lessons, cached=cached)
        losses.append(step(student.eval(), _batch(streams), torch.Generator()))

    assert_close(losses[0], losses[1], rtol=2e-3, atol=1e-4)
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_cached_labels_teach_by_each_strategy(spec, tmp_path, strategy):
    result = _distil(spec, tmp_path / "run", lessons=(Lesson("labels", strategy=strategy),), cached=True)

    assert torch.isfinite(torch.tensor(result.loss))


def test_an_ensemble_answers_with_the_mean_of_its_probabilities(spec, teacher, tmp_path):
    paths = (teacher(seed=0), teacher(seed=1))
    teachers = teaching.Teachers.load(DistilSpec(teachers=paths), tmp_path, classes=CLASSES, compute=choose(1))
    pictures = torch.rand(2, 1, 32, 32)

    said = teachers.answer(pictures)

    with torch.no_grad():
        each = [checkpoint.load(tmp_path / path, classes=CLASSES)[0](pictures).softmax(1) for path in paths]
    assert_close(said.logits.softmax(1), sum(each) / 2, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_colour_pictures_teaches_a_student_of_grey_ones(spec, teacher, tmp_path):
    coloured = NetworkSpec("unet", channels=3, width=4)

    assert _distil(spec, tmp_path / "run", teachers=(teacher(coloured), teacher())).steps == 3


@pytest.mark.parametrize("scales", [{"teacher_scale": 2.0}, {"student_scale": 0.5}])
def test_teacher_and_student_see_pictures_of_different_size(spec, tmp_path, scales, monkeypatch):
    seen = []
    whole = teaching.scaled
    monkeypatch.setattr(teaching, "scaled", lambda x, s: seen.append(whole(x, s).shape[-1]) or whole(x, s))

    _distil(spec, tmp_path / "run", **scales)

    assert set(seen) == {32, 32 * 2 if "teacher_scale" in scales else 16}


@pytest.mark.parametrize("loss", LESSONS)
def test_ignored_pixels_never_count(spec, teacher, tmp_path, loss):
    """Neither those that a label ignores, nor what lies outside an unlabelled image."""
    told = {"lessons": (Lesson(loss),), "teachers": (teacher(NetworkSpec("lean", width=4)),)}
    student, step, streams = _begun(dataclasses.replace(spec, **LEAN), tmp_path, **told)
    batch = _batch(streams)
    batch.masks[:] = 255
    batch.unlabelled[1][:] = 255

    value = step(student.eval(), batch, torch.Generator())
    value.backward()

    assert value == 0
    assert all(one.grad is None or not one.grad.any() for one in student.parameters())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teachers": ()}, "at least one teacher"),
        ({"lessons": ()}, "at least one teacher and one lesson"),
        ({"lessons": (Lesson("magic"),)}, "lessons among kl, "),
        ({"lessons": (Lesson("kl", share=0.5),)}, "no share, kl takes none"),
        ({"lessons": (Lesson("labels", strategy="cold"),)}, "a strategy among standard, "),
        ({"lessons": (Lesson(temperature=0.0),)}, "temperature > 0"),
        ({"teacher_scale": 0.0}, "scales above 0"),
        ({"student_scale": math.nan}, "scales above 0"),
        ({"label_weight": math.nan}, "label_weight of at least 0, got .* and nan"),
        ({"lessons": (Lesson(weight=math.inf),)}, "expected weight >= 0"),
        ({"lessons": (Lesson("normalised_features"),), "cached": True}, "asked at every step"),
        ({"lessons": (Lesson("normalised_features"),), "pairs": ((0, 99),)}, "expected places of maps"),
    ],
)
def test_a_distillation_that_cannot_run_is_refused(spec, tmp_path, changes, sentence):
    with pytest.raises(SpecError, match=sentence):
        _distil(dataclasses.replace(spec, **LEAN), tmp_path / "run", **changes)


def test_a_student_with_outputs_its_teacher_lacks_is_refused(spec, tmp_path):
    student = dataclasses.replace(spec, network=NetworkSpec("mff_metal", width=12))

    with pytest.raises(SpecError, match="got one without coarse, fine"):
        _distil(student, tmp_path / "run", lessons=(Lesson("labels"),))


def test_a_held_out_image_is_shown_to_no_teacher(spec, tmp_path):
    held_out = dataclasses.replace(spec, held_out=(spec.unlabelled[0].id,))

    with pytest.raises(SpecError, match="expected training images only"):
        _distil(held_out, tmp_path / "run")


def test_the_command_distils_as_the_spec_says(spec, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text(to_json(spec))

    assert main(["distil", str(tmp_path / "run")]) == 0

    assert json.loads((tmp_path / "run" / "result.json").read_text())["began"] == "from scratch"
    (tmp_path / "run" / "spec.json").write_text(to_json(dataclasses.replace(spec, distil=None)))
    assert main(["distil", str(tmp_path / "run")]) == 1
    assert "expected `distil` with teachers" in capsys.readouterr().err


def test_two_processes_that_distil_count_passes_once_and_end_with_the_same_student_and_projections(
    spec, teacher, tmp_path
):
    lessons = (Lesson("kl"), Lesson("normalised_features"))
    taught = DistilSpec(teachers=(teacher(NetworkSpec("lean", width=4)),), lessons=lessons)
    write(dataclasses.replace(spec, **LEAN, distil=taught), tmp_path, "spec.json")
    (tmp_path / "sitecustomize.py").write_text(WATCHED)
    surroundings = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "WATCHED": str(tmp_path), "OMP_NUM_THREADS": "1"}

    ran = subprocess.run(
        [sys.executable, "-m", "ml", "distil", "--processes", "2", str(tmp_path)], cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **surroundings},
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    result = read(TrainResult, tmp_path, "result.json")
    assert result.image_passes == 3 * (2 + 2), "3 steps of 2 labelled and 2 unlabelled, whoever saw them"
    before, *after = (torch.load(tmp_path / name, weights_only=True) for name in ("0-1.pt", "0-3.pt", "1-3.pt"))
    assert {name.split(".")[0] for name in before} == {"model", "project"}
    assert all(torch.equal(after[0][name], after[1][name]) for name in before)
    assert not any(torch.equal(before[name], after[0][name]) for name in before if name.startswith("project"))


def test_a_student_shows_what_the_lessons_look_at_and_nothing_else(spec, tmp_path):
    student, _, _ = _begun(dataclasses.replace(spec, network=NetworkSpec("mff_metal", width=12)), tmp_path)

    said = student.eval()(torch.rand(1, 1, 32, 32))

    assert isinstance(said, Outputs)
    assert not said.heads
    assert not said.features
