"""What all writers share: a folder that appears whole, or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from annotation.formats.dataset import BadSource, Drawn, Losses

NO_IGNORE = "{n} pixels that were to be ignored are background now: the format knows no such pixels."
NO_PROVENANCE = "{n} images lose the note where their mask came from: the format has no place for it."


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `target` once all went well; of a failure nothing stays.

    Raises:
        BadSource: There is something at `target` already.
    """
    if target.exists():
        raise BadSource(f"{target} is there already. Name a folder that is not, or remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    unfinished.mkdir()
    try:
        yield unfinished
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def place(name: str) -> PurePosixPath:
    """Where an image of this name belongs below a folder of images."""
    return PurePosixPath(name.removeprefix("images/"))


def copy_image(one: Drawn, folder: Path) -> Path:
    """The image's copy at its place below a folder.

    Raises:
        BadSource: Another image has this place.
    """
    target = new_file(folder, one.path)
    shutil.copyfile(one.image, target)
    return target


def new_file(folder: Path, path: PurePosixPath) -> Path:
    """A place below a folder that nothing takes yet; its folder is made.

    Raises:
        BadSource: It is taken, or leads out of the folder.
    """
    target = folder / path
    if ".." in path.parts or path.is_absolute():
        raise BadSource(f"{path} leads out of the folder. Rename the image.")
    if target.exists():
        raise BadSource(f"two images share {path.with_suffix('')}, and their masks would share a file. Rename one.")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def sentences(losses: Losses) -> list[str]:
    """What was lost, in words."""
    return [sentence.format(n=count) for sentence, count in losses.items() if count]
