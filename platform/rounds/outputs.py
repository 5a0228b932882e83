"""The folder of an attempt, `stages/<stage>/attempt-<n>/`, and the rows of what is left in it."""

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from catalog import files
from ml import spec
from ml.files import to_disk
from rounds import transitions
from rounds.ml_process import run_ml
from rounds.models import Stage, StageFile


def path_of(stage: Stage, name: str = "") -> str:
    """Where a file of this attempt lies, relative to DATA_DIR."""
    return _path(stage.pk, stage.attempt, name)


def folder_for(stage: Stage, part: str = "") -> Path:
    """The folder of this attempt, or a part of it; made where it is missing."""
    folder = files.absolute(path_of(stage, part))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compute(stage: Stage, verb: str, told: Any, part: str = "") -> Path:
    """Run a verb of `ml` on a spec, with heartbeats; the folder that now holds its result.

    Raises:
        MlFailed: it ended without a result.
        StaleClaim: the attempt is no longer ours; the process is gone.
    """
    folder = folder_for(stage, part)
    _take_over(stage, part, folder)
    # Of all stages alike: whatever one has decoded, the next one maps. Beside the data, for no backup needs it.
    spec.write(dataclasses.replace(told, cache=str(Path(settings.DATA_DIR).with_name("cache"))), folder, "spec.json")
    transitions.beat(stage, {"note": "starting"})
    run_ml(verb, folder, beat=lambda progress: transitions.beat(stage, progress or None))
    return folder


def left_behind(stage: Stage) -> list[StageFile]:
    """A row, not yet saved, for every file of this attempt; all of them would survive a power cut."""
    root = folder_for(stage)
    for path in (*root.rglob("*"), root, root.parent, root.parent.parent):
        to_disk(path)
    return [
        StageFile(
            stage=stage, name=str(path.relative_to(root)), path=path_of(stage, str(path.relative_to(root))),
            sha256=files.sha256_of(path), size=path.stat().st_size,
        )
        for path in sorted(root.rglob("*")) if path.is_file()
    ]  # fmt: skip


def _take_over(stage: Stage, part: str, folder: Path) -> None:
    """Let this attempt go on from the state that an earlier one left, the latest if there are several.

    Moved, not shared: whoever may still be at work in an earlier attempt's folder cannot reach it any more.
    """
    for attempt in range(stage.attempt - 1, 0, -1):
        with suppress(FileNotFoundError):
            files.absolute(_path(stage.pk, attempt, part, spec.STATE)).rename(folder / spec.STATE)
            return


def _path(stage_id: int, attempt: int, *names: str) -> str:
    return "/".join(part for part in ("stages", str(stage_id), f"attempt-{attempt}", *names) if part)
