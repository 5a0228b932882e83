"""Simulated campaigns for benches: several folders of them in one, what they compute alike computed once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml import simulate


def report(work: Path, name: str, words: Sequence[str]) -> dict[str, Any]:
    """The report of the campaigns in WORK/name, once they are finished.

    words: to `simulate`, the folder of images first.
    """
    out = work / name
    out.mkdir(parents=True, exist_ok=True)
    (work / "steps").mkdir(exist_ok=True)
    if not (out / "steps").exists():
        (out / "steps").symlink_to(Path("..") / "steps")
    # A collapse is part of what is compared: the night goes on.
    simulate.run(simulate.parsed([*words, "--out", str(out), "--accept-background"]))
    told: dict[str, Any] = json.loads((out / "report.json").read_text())
    return told
