"""The one seam to `ml`: a verb in a process of its own, which can be watched, cancelled and never outlives us."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any

from config.environment import ROOT

BEAT_SECONDS = 2.0
GRACE_SECONDS = 2.0  # from SIGTERM to SIGKILL; with the beat before it, a cancel takes less than five seconds
LOG_TAIL_BYTES = 4000

# What a training needs to know of its machine. No secrets: no address of a database, a broker or Label Studio.
ENVIRONMENT_NAMES = {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"}
ENVIRONMENT_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "OMP_", "MKL_", "TORCH_", "PYTORCH_")

Progress = dict[str, Any]


class MlFailed(Exception):
    """A verb of `ml` ended without a result; the message is its last word."""

    def __init__(self, message: str, *, log_tail: str, may_pass: bool) -> None:
        super().__init__(message)
        self.log_tail = log_tail
        self.may_pass = may_pass


def run_ml(verb: str, folder: Path, *, beat: Callable[[Progress], None]) -> None:
    """Run `python -m ml <verb> <folder>` to its end; stderr goes to `log.txt` in the folder.

    `beat` is called about every two seconds with the latest progress; what it raises ends the process and goes on up.

    Raises:
        MlFailed: the process ended without writing its result.
    """
    with (folder / "log.txt").open("wb") as log, _child(verb, folder, log) as child:
        latest: Progress = {}
        reader = Thread(target=_read_progress, args=(child.stdout, latest), daemon=True)
        reader.start()
        while _still_runs(child):
            beat(dict(latest))
        reader.join(timeout=GRACE_SECONDS)
        code = child.returncode
    if code != 0 or not (folder / "result.json").is_file():
        raise _failure(verb, code, log_tail(folder))
    beat(dict(latest))  # a short run may have ended between two beats


def environment() -> dict[str, str]:
    """The reduced environment of the process."""
    kept = {
        name: value for name, value in os.environ.items()
        if name in ENVIRONMENT_NAMES or name.startswith(ENVIRONMENT_PREFIXES)
    }  # fmt: skip
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def log_tail(folder: Path) -> str:
    """The end of the log, as much as fits on a page."""
    with (folder / "log.txt").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip()


@contextmanager
def _child(verb: str, folder: Path, log: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    # Its stdin is a pipe that only we hold: whatever becomes of us, it closes, and the child ends.
    child = subprocess.Popen(
        [sys.executable, "-m", "ml", verb, str(folder), "--watch-stdin"],
        cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        _end_group(child)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """No process of the group is left: neither the child nor what torchrun or a loader started."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
    _signal(child, signal.SIGKILL)
    child.wait()


def _signal(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the whole group is gone already
        os.killpg(child.pid, number)


def _still_runs(child: "subprocess.Popen[bytes]") -> bool:
    try:
        child.wait(BEAT_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _read_progress(lines: IO[bytes], latest: Progress) -> None:
    for line in lines:
        with suppress(ValueError):  # a library that prints is no reason to fail
            value = json.loads(line)
            if isinstance(value, dict):
                latest.update(value)


def _failure(verb: str, code: int, tail: str) -> MlFailed:
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory? choose a smaller batch or network)" if name == "SIGKILL" else ""
        return MlFailed(f"python -m ml {verb} was ended by {name}{hint}", log_tail=tail, may_pass=True)
    last = tail.splitlines()[-1] if tail else f"python -m ml {verb} ended with status {code} and no word"
    return MlFailed(last, log_tail=tail, may_pass=code == os.EX_TEMPFAIL)
