import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from ml import spec
from rounds import ml_process
from rounds.ml_process import MlFailed, run_ml
from rounds.transitions import StaleClaim

CHILD = """
import json, os, signal, subprocess, sys, time
verb, folder = sys.argv[1], sys.argv[2]
assert sys.argv[3] == "--watch-stdin"
if verb == "answer":
    print(json.dumps({"step": 1, "steps": 2, "loss": 0.5}), flush=True)
    print("a library that prints", flush=True)
    time.sleep(0.5)
    print(json.dumps({"step": 2, "steps": 2}), flush=True)
    time.sleep(0.5)
    open(folder + "/result.json", "w").write("{}")
if verb == "environment":
    open(folder + "/result.json", "w").write(json.dumps(dict(os.environ)))
if verb == "refuse":
    sys.stderr.write("a long trace\\nlower the batch size\\n")
    sys.exit(1)
if verb == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if verb == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(folder + "/pids", "w").write(f"{os.getpid()} {helper.pid}")
    time.sleep(600)
"""

WORKER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
sys.path[:0] = sys.argv[2:4]
from rounds import ml_process
ml_process.BEAT_SECONDS = 0.5
if sys.argv[4:]:
    ml_process.sys = SimpleNamespace(executable=sys.argv[4])
try:
    ml_process.run_ml("train", Path(sys.argv[1]), beat=lambda progress: print(progress.get("step", 0), flush=True))
except ml_process.MlFailed as failed:
    print("may pass:", failed.may_pass, failed, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An attempt's folder, beside an `ml` whose child does as the verb says."""
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "__main__.py").write_text(CHILD)
    monkeypatch.setattr(ml_process, "ROOT", tmp_path)
    monkeypatch.setattr(ml_process, "BEAT_SECONDS", 0.1)
    attempt = tmp_path / "attempt-1"
    attempt.mkdir()
    return attempt


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_progress_is_beaten_while_the_child_runs(folder):
    beats: list[dict] = []

    run_ml("answer", folder, beat=beats.append)

    assert len(beats) > 3
    assert {"step": 1, "steps": 2, "loss": 0.5} in beats
    assert beats[-1]["step"] == 2


def test_the_child_knows_no_secret(folder, monkeypatch):
    monkeypatch.setenv("BURNISH_SECRET_KEY", "hush-1")
    monkeypatch.setenv("DATABASE_URL", "postgres://hush-2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    run_ml("environment", folder, beat=lambda _: None)

    told = (folder / "result.json").read_text()
    assert "hush" not in told
    assert "CUDA_VISIBLE_DEVICES" in told


def test_a_child_that_refuses_is_quoted_with_its_log_tail(folder):
    with pytest.raises(MlFailed) as failure:
        run_ml("refuse", folder, beat=lambda _: None)

    assert str(failure.value) == "lower the batch size"
    assert failure.value.log_tail == "a long trace\nlower the batch size"
    assert not failure.value.may_pass


def test_a_child_that_was_killed_may_do_better_next_time(folder):
    with pytest.raises(MlFailed, match="SIGKILL") as failure:
        run_ml("die", folder, beat=lambda _: None)

    assert failure.value.may_pass


def test_a_child_that_ends_without_a_result_has_failed(folder):
    with pytest.raises(MlFailed, match="no word"):
        run_ml("nothing", folder, beat=lambda _: None)


def test_a_cancelled_child_is_gone_within_five_seconds_with_its_children_even_if_it_ignores_being_asked(folder):
    began: list[float] = []

    def cancelled(_: dict) -> None:
        if (folder / "pids").exists():
            began.append(time.monotonic())
            raise StaleClaim("cancelled")

    with pytest.raises(StaleClaim):
        run_ml("hang", folder, beat=cancelled)

    deadline = began[0] + 5 - 2.0  # two seconds between beats, as outside of tests
    assert time.monotonic() < deadline
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    while any(alive(pid) for pid in pids):  # who was killed a moment ago may still be going
        assert time.monotonic() < deadline


def test_a_child_of_a_killed_worker_ends_by_itself(tmp_path):
    """The real `ml`: it watches its stdin before it reads anything."""
    fifo = tmp_path / "spec.json"
    os.mkfifo(fifo)  # reading the spec never ends
    roots = [str(ml_process.ROOT), str(ml_process.ROOT / "platform")]
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), *roots], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.readline()
    (child,) = children(worker.pid)

    worker.send_signal(signal.SIGKILL)
    worker.wait()

    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


@pytest.fixture
def two_that_train(tmp_path, ml_through) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A worker under which two processes train together for ever, and their folder."""
    folder = tmp_path / "attempt-1"
    folder.mkdir()
    Picture.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "flat.png")
    flat = spec.Sample("flat", "flat.png", "flat.png")
    told = spec.TrainSpec(("scratch",), (flat,), network=spec.NetworkSpec(width=2), steps=10**6, batch=2, crop=32)
    spec.write(told, folder, "spec.json")
    roots = [str(ml_process.ROOT), str(ml_process.ROOT / "platform")]
    command = [sys.executable, "-c", WORKER, str(folder), *roots, str(ml_through("$ml --processes 2"))]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield worker, folder
    worker.kill()
    worker.communicate()


@pytest.mark.parametrize("victim", ["worker", "torchrun", "one of the two"])
def test_nothing_is_left_of_two_that_train_together_when_one_process_is_killed(
    two_that_train, processes_in, wait_until, victim
):
    worker, folder = two_that_train
    assert any(line.strip() not in {"", "0"} for line in iter(worker.stdout.readline, "")), "they never began"
    (torchrun,) = children(worker.pid)
    ours = set(processes_in(str(folder))) - {worker.pid, torchrun}
    assert len(ours) == 2

    os.kill({"worker": worker.pid, "torchrun": torchrun}.get(victim, min(ours)), signal.SIGKILL)

    assert wait_until(lambda: not (set(processes_in(str(folder))) - {worker.pid}), seconds=60)
    if victim != "worker":
        said = next(line for line in iter(worker.stdout.readline, "") if line.startswith("may pass: "))
        assert said.startswith("may pass: True"), said
        # The other may fall over its neighbour's end before anybody notices that end.
        assert ("SIGKILL" in said and "out of memory?" in said) or "one of 2 processes failed" in said, said


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
