"""Write-once files under DATA_DIR. A row names each by its relative path, with its sha256 beside it.

originals/<project>/<sha[:2]>/<sha>.<ext>    as they came
views/<project>/<sha[:2]>/<sha>.png          what people see and training reads
references/<project>/<sha>.png               given truth
labels/<project>/<sha>.png                   answers
stages/<stage>/attempt-<n>/<name>            what stages left
thumbnails/<key[:2]>/<key>.webp              small pictures of views: made when first asked for, no row names them
imports/<name>/                              uploads and unpacked archives, gone after the import
"""

import hashlib
import os
import uuid
from pathlib import Path

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation

from ml.files import place

FANNED_OUT = frozenset({"originals", "views"})  # kinds with a folder per first byte: a million files in one is slow


class OtherContent(ValueError):
    """A file of this path is there already and holds something else."""


def absolute(path: str) -> Path:
    """Where a relative path of a row lies.

    Raises:
        SuspiciousFileOperation: it leads out of DATA_DIR.
    """
    root = Path(settings.DATA_DIR).resolve()
    found = (root / path).resolve()
    if found == root or not found.is_relative_to(root):
        raise SuspiciousFileOperation(f"expected a path inside {root}, got {path!r}")
    return found


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep(kind: str, project_id: int, content: bytes, suffix: str) -> tuple[str, str]:
    """(path, sha256) of a file named by its content, so that equal contents share one file."""
    digest = hashlib.sha256(content).hexdigest()
    folder = f"{kind}/{project_id}/{digest[:2]}" if kind in FANNED_OUT else f"{kind}/{project_id}"
    path = f"{folder}/{digest}{suffix}"
    return path, write_once(path, content)


def write_once(path: str, data: bytes) -> str:
    """Write a file, whole or not at all; its sha256. The same content written again is fine.

    Raises:
        OtherContent: the path is taken by other content.
    """
    target = absolute(path)
    digest = hashlib.sha256(data).hexdigest()
    if _is_there(target, digest):
        return digest
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        place(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def adopt(source: Path, path: str) -> str:
    """Move a file that was written on the same volume to its place; its sha256.

    Raises:
        OtherContent: the path is taken by other content.
    """
    target = absolute(path)
    digest = sha256_of(source)
    if _is_there(target, digest):
        source.unlink()
        return digest
    target.parent.mkdir(parents=True, exist_ok=True)
    place(source, target)
    return digest


def remove_unused(path: str, before: float) -> bool:
    """Remove a file that nobody has found a use for since `before` (seconds since 1970); whether it is gone."""
    target = absolute(path)
    aside = target.with_name(f".{uuid.uuid4().hex}.tmp")
    # Aside first: from now on a writer finds nothing there and writes anew, so its row will have a file.
    target.rename(aside)
    if aside.stat().st_mtime >= before:
        aside.rename(target)
        return False
    aside.unlink()
    return True


def _is_there(target: Path, digest: str) -> bool:
    try:
        found = sha256_of(target)
        os.utime(target)  # in use from now on: not to be taken for a left-over
    except FileNotFoundError:
        return False
    if found != digest:
        raise OtherContent(
            f"{target} is there with other content. Files are written once: run check_integrity, "
            "then remove the damaged file or restore it from a backup."
        )
    return True
