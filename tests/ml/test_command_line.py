"""`python -m ml` as the platform runs it: a process of its own."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml import spec as specs

ROOT = Path(__file__).parents[2]


def _ml(*arguments, module="ml"):
    command = [sys.executable, "-m", *module.split(), *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


def _folder(tmp_path, spec, name="run"):
    (tmp_path / name).mkdir()
    specs.write(spec, tmp_path / name, "spec.json")
    return tmp_path / name


def test_a_small_network_learns_toy_pictures_and_its_masks_are_right(toy, tiny_training, tmp_path):
    samples = toy(12)
    training = dataclasses.replace(
        tiny_training, labelled=samples, pseudo=(), network=specs.NetworkSpec(width=4), steps=120, batch=6, crop=40,
        optimiser="adamw", learning_rate=0.01,
    )  # fmt: skip
    trained = _folder(tmp_path, training, "train")
    assert _ml("train", trained).returncode == 0
    result = specs.read(specs.TrainResult, trained, "result.json")
    checkpoints = tuple(str(trained / name) for name in result.checkpoints)

    asked = dataclasses.asdict(specs.PredictSpec(training.classes, checkpoints, samples))
    predicted = _folder(tmp_path, specs.PredictSpec(**{**asked, "samples": samples}), "predict")
    assert _ml("predict", predicted).returncode == 0
    evaluated = _folder(tmp_path, specs.EvaluateSpec(training.classes, checkpoints, samples), "evaluate")
    assert _ml("evaluate", evaluated).returncode == 0

    scores = specs.read(specs.PredictResult, predicted, "result.json").scores
    assert all(0 <= value <= 1 for one in scores for value in (one.uncertainty, one.confidence, one.stability))
    first, _, last = specs.read(specs.EvaluateResult, evaluated, "result.json").figures
    assert last.miou_foreground > 0.8
    assert last.miou > first.miou


def test_progress_is_a_stream_of_json_lines(tiny_training, tmp_path):
    ran = _ml("train", _folder(tmp_path, tiny_training))

    lines = [specs.from_json(specs.Progress, line) for line in ran.stdout.splitlines()]
    assert [line.steps for line in lines] == [3] * len(lines)
    assert lines[-1].step == 3
    assert ran.stderr == ""


def test_torchrun_shares_a_training_between_two_processes(tiny_training, tmp_path):
    folder = _folder(tmp_path, tiny_training)

    ran = _ml("--standalone", "--nproc-per-node", 2, "-m", "ml", "train", folder, module="torch.distributed.run")

    assert ran.returncode == 0, ran.stderr
    assert specs.read(specs.TrainResult, folder, "result.json").image_passes == 24, (
        "3 steps of 4 labelled and 4 pseudo-labelled"
    )
    steps = [json.loads(line)["step"] for line in ran.stdout.splitlines()]
    assert steps == sorted(set(steps)), "only one of the processes may speak"


def test_several_processes_end_with_the_sentence_of_the_one_that_failed(tiny_training, tmp_path):
    folder = _folder(tmp_path, dataclasses.replace(tiny_training, batch=5))

    ran = _ml("train", "--processes", 2, folder)

    assert ran.returncode == 1
    assert "batch: expected a positive multiple of 2 (processes), got 5" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "spec.json: no such file; write it"),
        ("{", "spec.json: not JSON"),
        ('{"classes": ["a"]}', "TrainSpec: missing fields labelled"),
        ('{"classes": ["a"], "labelled": [{"id": "1", "image": "x.png", "mask": "y.png"}]}', "x.png: no such file"),
    ],
)
def test_a_training_that_cannot_run_ends_with_one_helpful_line(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "spec.json").write_text(content)

    ran = _ml("train", tmp_path)

    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert sentence in line
    assert not (tmp_path / "result.json").exists()


def _start_long_training(tmp_path, tiny_training, *arguments):
    folder = _folder(tmp_path, dataclasses.replace(tiny_training, steps=10**6))
    process = subprocess.Popen(
        [sys.executable, "-m", "ml", "train", str(folder), *arguments], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline().startswith(b"{"), "the training never began"
    return process, folder


def _trainings(folder):
    """Process ids whose command line names the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:  # it ended while we looked
            continue
        if str(folder).encode() in command:
            found.append(int(entry.parent.name))
    return found


def test_sigterm_ends_a_training_at_once(tiny_training, tmp_path):
    process, folder = _start_long_training(tmp_path, tiny_training)

    process.terminate()

    assert process.wait(timeout=5) == -signal.SIGTERM
    assert not (folder / "result.json").exists()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("arguments", [(), ("--processes", "2")])
def test_closing_stdin_ends_a_training_with_all_its_processes(tiny_training, tmp_path, arguments):
    process, folder = _start_long_training(tmp_path, tiny_training, "--watch-stdin", *arguments)
    assert _trainings(folder)

    process.stdin.close()
    process.wait(timeout=20)

    deadline = time.monotonic() + 20
    while _trainings(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _trainings(folder)


def test_bench_training_measures_any_network_and_leaves_figures_and_a_table(tmp_path):
    bench = ("bench", "training", "--steps", 2, "--size", 32, "--batch", 2, "--out", tmp_path, "--networks")
    ran = _ml(*bench, "half_unet")

    assert ran.returncode == 0, ran.stderr
    figures = json.loads((tmp_path / "training.json").read_text())
    (one,) = figures["networks"].values()
    assert one["ratio"] > 0.5, "the loop does what bare does, and more"
    assert 0 < one["share_of_matrix_rate"] < 1.5
    assert 0 < one["processor_share_of_matrix_rate"] < 1.5
    assert one["operations_per_step"] == pytest.approx(3 * 2 * 2 * 12e6, rel=0.5)
    assert {"processor", "threads", "precision", "torch", "commit", "load"} <= figures["machine"].keys()
    assert "| half_unet |" in (tmp_path / "training.md").read_text()

    assert _ml(*bench, "half_unet", "lean").returncode == 0
    kept = json.loads((tmp_path / "training.json").read_text())["networks"]
    assert set(kept) == {"half_unet", "lean"}
    assert kept["half_unet"] == one, "measured before, with the same settings"


def test_bench_training_names_the_networks_it_knows(tmp_path):
    ran = _ml("bench", "training", "--networks", "vgg", "--out", tmp_path)

    assert ran.returncode == 1
    assert "networks: expected some of unet, half_unet" in ran.stderr.splitlines()[-1]


def test_what_the_platform_imports_does_not_import_torch():
    code = (
        "import sys, ml.__main__, ml.acquisition, ml.metrics, ml.scoring, ml.dividing, ml.landmarks, ml.statistics, ml.recipes, ml.scenes, ml.spec, ml.synthetic;"
        "sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
