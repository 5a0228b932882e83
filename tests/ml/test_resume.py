"""A training that was ended somewhere goes on from its state; on one processor it comes to the very same weights."""

import dataclasses
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ml import resume
from ml import spec as specs
from ml.device import Team
from ml.optimisation import OPTIMISERS
from ml.spec import STATE, ConsistencySpec, NetworkSpec, ScheduleSpec
from ml.steps import STEPS
from ml.train import train

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ("checkpoint-1.pt", "checkpoint-2.pt", "checkpoint-3.pt")


class Killed(BaseException):
    pass


@pytest.fixture
def spec(tiny_training):
    """Twelve steps, of batches that cut through the streams' permutations."""
    return dataclasses.replace(tiny_training, steps=12, batch=3)


@pytest.fixture
def consistent(spec, toy):
    """The same with unlabelled images, taught by the moving average of the weights from the first step on."""
    samples = toy(12)
    return dataclasses.replace(
        spec, step="weak_to_strong", average=0.9, labelled=samples[:4], pseudo=samples[4:8],
        unlabelled=tuple(dataclasses.replace(one, mask=None) for one in samples[8:]),
        consistency=ConsistencySpec(memory=0.5, warm_up=0.0, ramp=0.5),
    )  # fmt: skip


@pytest.fixture
def killed_at(monkeypatch):
    """Train, and be gone in the middle of a step."""

    def run(spec, folder, step, **options):
        whole, done = STEPS[spec.step], []

        def until(*arguments):
            done.append(1)
            if len(done) == step:
                raise Killed
            return whole(*arguments)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setitem(STEPS, spec.step, until)
            _train(spec, folder, **options)

    return run


def _train(spec, folder, said=None, **options):
    folder.mkdir(exist_ok=True)
    say = (said if said is not None else []).append
    return train(spec, folder, say=say, team=Team(), **{"save_seconds": 0.0, **options})


def _weights(folder, name="checkpoint-3.pt"):
    return torch.load(folder / name, weights_only=True)["weights"]


def _same(one, other):
    pairs = [(_weights(one, name), _weights(other, name)) for name in CHECKPOINTS]
    return all(torch.equal(value, theirs[key]) for ours, theirs in pairs for key, value in ours.items())


@pytest.mark.parametrize(
    ("step", "optimiser"), [*((step, "adamw") for step in STEPS), *(("supervised", one) for one in OPTIMISERS)]
)
def test_it_comes_to_the_same_weights_curve_and_loss(spec, tmp_path, killed_at, step, optimiser):
    spec = dataclasses.replace(spec, step=step, optimiser=optimiser)
    whole = _train(spec, tmp_path / "whole")

    killed_at(spec, tmp_path / "run", 6)
    killed_at(spec, tmp_path / "run", 5)  # after five more steps
    result = _train(spec, tmp_path / "run")

    assert result.note == "resumed at step 9 of 12"
    assert _same(tmp_path / "whole", tmp_path / "run")
    assert (result.loss, result.curve) == (whole.loss, whole.curve)


@pytest.mark.parametrize("options", [{}, {"average": 0.0}, {"accumulation": 2}])
def test_a_training_by_consistency_goes_on_with_its_teacher_and_its_thresholds(
    consistent, tmp_path, killed_at, options
):
    spec = dataclasses.replace(consistent, **options)
    whole = _train(spec, tmp_path / "whole")

    calls = spec.accumulation
    killed_at(spec, tmp_path / "run", 6 * calls)
    state = resume._read(tmp_path / "run" / STATE)
    result = _train(spec, tmp_path / "run")

    assert result.note == "resumed at step 5 of 12"
    assert _same(tmp_path / "whole", tmp_path / "run")
    assert (result.loss, result.curve, result.image_passes) == (whole.loss, whole.curve, 12 * calls * (3 + 3 + 2 * 3))
    assert state["parts"]["guide"]["answered"] == 5 * calls


def test_without_the_thresholds_it_would_come_to_other_weights(consistent, tmp_path, killed_at):
    """The control of the test before."""
    _train(consistent, tmp_path / "whole")
    killed_at(consistent, tmp_path / "run", 6)
    state = resume._read(tmp_path / "run" / STATE)
    state["parts"]["guide"]["means"].fill_(0.9)
    resume._write(state, tmp_path / "run" / STATE)

    _train(consistent, tmp_path / "run")

    assert not _same(tmp_path / "whole", tmp_path / "run")


_PLATEAU = ScheduleSpec("plateau", patience=0)


@pytest.mark.parametrize(
    "options",
    [
        {"nesterov": True, "schedule": ScheduleSpec("cosine", warm_up=3, last=0.1)},
        {"schedule": ScheduleSpec("multistep", milestones=(4, 9)), "accumulation": 2, "average": 0.9},
        {"schedule": _PLATEAU, "look_every": 2, "optimiser": "adam"},
        {"schedule": _PLATEAU, "look_every": 1, "inner_validation": 0.3, "average": 0.9},
        {"look_every": 4, "inner_validation": 0.3, "stop_after": 3, "accumulation": 2},
        {"loss": "cross_entropy", "class_weights": (0.5, 1.0, 2.0), "precision": "fp32"},
        {"precision": "fp16", "average": 0.5, "loss": "dice"},
        {"frozen_steps": 7, "head_rate": 10.0},
        {"frozen_steps": 10, "average": 0.9, "accumulation": 2},
    ],
    ids="-".join,
)
def test_it_comes_to_the_same_with_whatever_options(spec, tmp_path, killed_at, with_encoder, options):
    spec = dataclasses.replace(spec, **options)
    whole = _train(spec, tmp_path / "whole")

    calls = spec.accumulation
    killed_at(spec, tmp_path / "run", 6 * calls)
    killed_at(spec, tmp_path / "run", 4 * calls)  # after five more steps
    result = _train(spec, tmp_path / "run")

    assert "resumed at step 8 of 12" in result.note
    assert _same(tmp_path / "whole", tmp_path / "run")
    assert (result.loss, result.curve, result.looks) == (whole.loss, whole.curve, whole.looks)


def test_a_training_that_was_about_to_end_early_ends_there_when_it_goes_on(spec, tmp_path, monkeypatch):
    spec = dataclasses.replace(spec, inner_validation=0.3, look_every=1, stop_after=1, learning_rate=1e-9)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("ml.train.TrainResult", _killed)  # right after the last state was written
        _train(spec, tmp_path / "run")

    result = _train(spec, tmp_path / "run")

    assert result.steps == 2
    assert (
        result.note
        == "resumed at step 2 of 12; stopped at step 2 of 12: best at step 1 (" + f"{result.looks[0][1]:.4f})"
    )


def _killed(**_):
    raise Killed


def test_its_state_is_all_that_another_attempt_needs(spec, tmp_path, killed_at):
    """Another attempt has another folder: the snapshots of the first thirds must come along."""
    _train(spec, tmp_path / "whole")
    killed_at(spec, tmp_path / "first", 11)

    (tmp_path / "second").mkdir()
    (tmp_path / "first" / STATE).rename(tmp_path / "second" / STATE)
    _train(spec, tmp_path / "second")

    assert _same(tmp_path / "whole", tmp_path / "second")


def test_it_counts_the_seconds_of_all_attempts_and_says_all_along_where_it_was_resumed(
    spec, tmp_path, killed_at, monkeypatch
):
    killed_at(spec, tmp_path / "run", 6)
    state = resume._read(tmp_path / "run" / STATE)
    state["diary"]["seconds"] = 1000.0
    resume._write(state, tmp_path / "run" / STATE)
    said = []

    result = _train(spec, tmp_path / "run", said)

    assert result.seconds > 1000
    assert {one.note for one in said} == {"resumed at step 5 of 12"}


@pytest.mark.parametrize("size", [0, 0.5])
def test_a_state_cut_short_is_left_aside_with_a_note(spec, tmp_path, killed_at, size):
    killed_at(spec, tmp_path / "run", 6)
    content = (tmp_path / "run" / STATE).read_bytes()
    (tmp_path / "run" / STATE).write_bytes(content[: int(size * len(content))])

    result = _train(spec, tmp_path / "run")

    _train(spec, tmp_path / "whole")
    assert result.note.startswith("started afresh: the state of the earlier attempt cannot be read (its bytes are not")
    assert _same(tmp_path / "whole", tmp_path / "run")


def test_a_state_whose_bytes_have_changed_is_left_aside(spec, tmp_path, killed_at):
    killed_at(spec, tmp_path / "run", 6)
    path = tmp_path / "run" / STATE
    whole = path.read_bytes()

    for place in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="not those that were written"):
            resume._read(path)


class _Malicious:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", [_Malicious(), {"step": 5}, [1, 2]])
def test_what_is_no_state_is_left_aside_and_never_executed(spec, tmp_path, capsys, content):
    (tmp_path / "run").mkdir()
    resume._write(content, tmp_path / "run" / STATE)

    result = _train(spec, tmp_path / "run")

    assert result.note.startswith("started afresh: the state of the earlier attempt cannot be read")
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0.02}, {"labelled": ...}, {"network": NetworkSpec(width=4)}],
)
def test_other_labels_or_settings_start_afresh_with_a_note(spec, tmp_path, killed_at, change):
    killed_at(spec, tmp_path / "run", 6)
    if "labelled" in change:
        change = {"labelled": spec.labelled[:-1]}
    other = dataclasses.replace(spec, **change)

    result = _train(other, tmp_path / "run")

    assert result.note == "started afresh: the earlier attempt had other labels, settings or software"
    assert result.curve[0][0] == 1


def test_what_does_not_change_the_weights_does_not_start_it_afresh(spec, tmp_path, killed_at):
    killed_at(spec, tmp_path / "run", 6)

    result = _train(dataclasses.replace(spec, held_out=("new",), threads=2, cache="kept"), tmp_path / "run")

    assert result.note == "resumed at step 5 of 12"


def test_states_are_written_no_more_often_than_asked_for(spec, tmp_path):
    _train(spec, tmp_path / "run", save_seconds=60.0)

    assert not (tmp_path / "run" / STATE).exists()


def test_a_disk_that_is_full_for_a_while_stops_no_training(spec, tmp_path):
    said = []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f".{STATE}.tmp").symlink_to("/dev/full")  # gone after the first try, as if room had been made

    _train(dataclasses.replace(spec, steps=2), tmp_path / "run", said)

    assert said[-1].note == "the state of step 1 could not be written (No space left on device)"
    assert resume._read(tmp_path / "run" / STATE)["step"] == 2


def _start(folder, *arguments):
    command = [sys.executable, "-m", "ml", "train", str(folder), "--save-every", "0", "--watch-stdin", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def _kill(process, folder, *, after):
    """End it so many seconds after its state was first there."""
    deadline = time.monotonic() + 120
    while not (folder / STATE).exists():
        assert time.monotonic() < deadline, "no state was ever written"
        time.sleep(0.005)
    time.sleep(after)
    process.kill()
    process.communicate()  # until the last process that held stderr is gone


def _finish(process):
    """Its result; stdin stays open until then."""
    code = process.wait(timeout=200)
    assert code == 0, process.communicate()[1]
    process.communicate()


def _folder(tmp_path, spec, name):
    (tmp_path / name).mkdir()
    specs.write(spec, tmp_path / name, "spec.json")
    return tmp_path / name


@pytest.mark.parametrize(
    ("arguments", "step"),
    [((), "label_efficient_cutmix"), (("--processes", "2"), "weak_to_strong")],
)
def test_a_process_killed_at_any_moment_leaves_the_weights_of_an_undisturbed_one(
    tiny_training, consistent, tmp_path, arguments, step
):
    spec = dataclasses.replace(
        consistent if step == "weak_to_strong" else tiny_training, steps=12, batch=4, step=step, optimiser="adamw",
        average=0.9, accumulation=2, inner_validation=0.3, schedule=_PLATEAU, look_every=5,
    )  # fmt: skip
    whole, killed = (_folder(tmp_path, spec, name) for name in ("whole", "killed"))
    _finish(_start(whole, *arguments))
    moment = random.random() * specs.read(specs.TrainResult, whole, "result.json").seconds / 3

    _kill(_start(killed, *arguments), killed, after=moment)
    _finish(_start(killed, *arguments))

    assert specs.read(specs.TrainResult, killed, "result.json").note.startswith("resumed at step"), moment
    assert _same(whole, killed), moment
    assert not (killed / STATE).exists()
