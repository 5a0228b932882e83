"""The file that a backup is: a tar laid out as the state folder, with its description first and its checksums last.

about.json                  what made it, and when
secrets.env                 what logins, tokens and sessions hang on
databases/<name>.dump       as pg_dump writes them
data/...                    our files
label-studio/media/...      what people uploaded there
SHA256SUMS                  as `sha256sum --check` reads it: a backup can be opened and checked without Burnish
"""

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

ABOUT, SECRETS, SUMS = "about.json", "secrets.env", "SHA256SUMS"
FILES = {ABOUT, SECRETS, SUMS}
FOLDERS = {"databases", "data", "label-studio"}
FORMAT = 1
PRIVATE, PLAIN = 0o600, 0o644
CHUNK = 1 << 20
SAY_SECONDS = 5.0

Report = Callable[[str], object]


class BadArchive(ValueError):
    """The file is no backup, is damaged, or holds what no backup holds; the message says which."""


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass
class Writer:
    """An archive that is being written, and the sha256 of everything in it so far."""

    tar: tarfile.TarFile
    sums: dict[str, str] = field(default_factory=dict)

    def text(self, name: str, text: str) -> None:
        data = text.encode()
        self._add(name, io.BytesIO(data), len(data), PRIVATE)

    def file(self, name: str, path: Path, *, mode: int = PLAIN) -> int:
        """Bytes added; what is written to the file from now on is not among them.

        Raises:
            FileNotFoundError: it is gone.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._add(name, file, size, mode)
        return size

    def _add(self, name: str, file: IO[bytes], size: int, mode: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, mode
        reader = _Hashing(file)
        self.tar.addfile(member, reader)
        self.tar.members = []  # type: ignore[attr-defined]  # it would remember a million files, for nothing
        self.sums[name] = reader.digest.hexdigest()


class _Hashing(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


@contextmanager
def writing(path: Path, about: dict[str, Any]) -> Iterator[Writer]:
    """A new archive for our eyes only, on the disk when the block ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w+b") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            writer = Writer(tar)
            writer.text(ABOUT, json.dumps({"format": FORMAT, **about}, indent=1))
            yield writer
            writer.text(SUMS, "".join(f"{digest}  {name}\n" for name, digest in writer.sums.items()))
        file.flush()
        os.fsync(file.fileno())


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """An archive whose names and kinds were checked; each content is checked as it is unpacked."""

    tar: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]
    sums: dict[str, str]
    about: dict[str, Any]

    @property
    def size(self) -> int:
        return sum(member.size for member in self.members.values())

    def unpack(self, name: str, folder: Path) -> int:
        """Write one member below a folder that was empty before the first one; its bytes.

        Raises:
            BadArchive: it is not what was packed.
        """
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        member = self.members[name]
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, member.mode & PLAIN)
        with os.fdopen(descriptor, "wb") as file:
            if _copy(self.tar, member, file) != self.sums[name]:
                raise BadArchive(f"{name} is damaged: its sha256 is not the one in {SUMS}. Take another backup.")
        return member.size


@contextmanager
def reading(path: Path) -> Iterator[Archive]:
    """A backup, opened and looked through.

    Raises:
        BadArchive: it is none, is not whole, or holds a link, a device or a path that leads elsewhere.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            members = _members(tar)
            about = _about(_text(tar, members, ABOUT))
            sums = _sums(_text(tar, members, SUMS))
            if set(sums) != set(members) - {SUMS}:
                raise BadArchive(f"{path} does not hold just the files that its {SUMS} names. Take another backup.")
            yield Archive(tar, members, sums, about)
    except (tarfile.TarError, EOFError) as error:
        raise BadArchive(f"{path} is no backup, or it is damaged ({error}). Take another one.") from error


def _about(text: str) -> dict[str, Any]:
    try:
        about = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadArchive(f"{ABOUT} cannot be read ({error}): it is no backup of Burnish.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise BadArchive(f"{ABOUT} does not say format {FORMAT}, which this Burnish reads. Use the one that wrote it.")
    return about


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        if not member.isreg() or member.issparse():
            raise BadArchive(
                f"{member.name} is a link, a device or a folder: no backup holds one. Nothing was unpacked."
            )
        if not _has_its_place(member.name) or member.name in found:
            raise BadArchive(f"{member.name} is no path of a backup, or comes twice. Nothing was unpacked.")
        found[member.name] = member
    return found


def _has_its_place(name: str) -> bool:
    path = PurePosixPath(name)
    if str(path) != name or ".." in path.parts or not name.isprintable():
        return False
    return name in FILES or (len(path.parts) > 1 and path.parts[0] in FOLDERS)


def _text(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> str:
    if name not in members:
        raise BadArchive(f"There is no {name} in it: it is no backup, or it was cut off. Take another one.")
    buffer = io.BytesIO()
    _copy(tar, members[name], buffer)
    return buffer.getvalue().decode(errors="replace")


def _sums(text: str) -> dict[str, str]:
    lines = (line.partition("  ") for line in text.split("\n") if line)
    return {name: digest for digest, _, name in lines}


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, target: IO[bytes]) -> str:
    """The sha256 of what was copied."""
    digest = hashlib.sha256()
    packed = tar.extractfile(member)
    while packed and (chunk := packed.read(CHUNK)):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


# --- words ------------------------------------------------------------------------------------------------------------


class Progress:
    """Says every few seconds how many bytes are done."""

    def __init__(self, report: Report, total: int) -> None:
        self.report, self.total = report, total
        self.done, self.said = 0, time.monotonic()

    def add(self, size: int) -> None:
        self.done += size
        if time.monotonic() > self.said + SAY_SECONDS:
            self.said = time.monotonic()
            self.report(f"files: {megabytes(self.done)} of {megabytes(self.total)}")


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
