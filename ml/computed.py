"""What is computed once: a folder for each training, prediction and evaluation, named after the digest of its spec.

Whoever asks the same finds it there, and nothing that is finished is done again.
"""

import dataclasses
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml import spec as specs
from ml.files import locked
from ml.spec import EvaluateSpec, PredictSpec, TrainSpec

COMMIT = "commit.txt"  # in the folder of a step


def _train(told: TrainSpec, folder: Path) -> specs.TrainResult:
    from ml.device import Team
    from ml.train import train

    return train(told, folder, say=lambda _: None, team=Team())


def _predict(told: PredictSpec, folder: Path) -> specs.PredictResult:
    from ml.predict import predict

    return predict(told, folder, say=lambda _: None)


def _evaluate(told: EvaluateSpec, folder: Path) -> specs.EvaluateResult:
    from ml.evaluate import evaluate

    return evaluate(told, folder, say=lambda _: None)


_RUN: dict[str, Callable[[Any, Path], Any]] = {"train": _train, "predict": _predict, "evaluate": _evaluate}


def computed(steps: Path, verb: str, told: Any, *, commit: str) -> Path:
    """The folder in `steps` that holds the result of a spec; computed here unless it is there already.

    verb: train, predict or evaluate.  commit: of the code that runs; left beside the spec.  A training that was killed
    in the midst of it goes on from its state.
    """
    plain = specs.to_json(dataclasses.replace(told, threads=0))
    # Resolved, for it stands in later specs: folders that share their steps by a link would each have their own.
    folder = steps.resolve() / f"{verb}-{hashlib.sha256(plain.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", wait=True):
        if not (folder / "result.json").is_file():
            specs.write(told, folder, "spec.json")
            (folder / COMMIT).write_text(commit)
            specs.write(_RUN[verb](told, folder), folder, "result.json")
            (folder / specs.STATE).unlink(missing_ok=True)
    return folder


def running_commit() -> str:
    """Of the code that runs; "unknown" outside a repository."""
    if not shutil.which("git"):
        return "unknown"
    here = Path(__file__).parent
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"
