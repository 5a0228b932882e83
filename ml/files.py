"""Files that are there whole or not at all, also after a power cut. Importing this module does not import torch."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write; at the end of the block it takes the name `path`. One writer a path at a time."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # half a file would fill a full disk for good


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether the lock is ours for the block; it ends with the process, however that ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def place(written: Path, target: Path) -> None:
    """Give a file its name, on the same volume."""
    # Contents before the name, the name before whatever points at it: after a power cut nothing may point at nothing.
    to_disk(written)
    written.replace(target)
    to_disk(target.parent)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
