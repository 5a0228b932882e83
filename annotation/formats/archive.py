"""A source opened: a folder as it is, a zip unpacked member by member, each checked before a byte of it is written."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from annotation.formats.dataset import BadSource
from annotation.formats.layout import is_hidden

# Bounds against archives made to fill a disk. Deflate reaches 1000:1 on an empty picture, so the ratio only counts
# where there is much to unpack.
MAX_MEMBERS = 1_000_000
MAX_BYTES = 200 * 2**30
MAX_MEMBER_BYTES = 2**30
MAX_RATIO = 200
RATIO_COUNTS_FROM = 64 * 2**20
SPARE_BYTES = 2**30  # left free for everything else on the volume

_ENCRYPTED = 0x1  # of the flag bits
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def open_source(
    source: Path,
    scratch: Path,
    refused: list[tuple[str, str]] | None = None,
    *,
    beat: Callable[[], None] = lambda: None,
) -> Path:
    """The folder to read: `source` itself, or `scratch` with what its zip holds. Called again, it goes on.

    Args:
        source: A folder or a zip file.
        scratch: Where to unpack; made if missing.
        refused: Gets (member, reason) for each member that was left out.
        beat: Called before each member; what it raises stops the unpacking.

    Raises:
        BadSource: There is no such file, it is no zip, or too much is in it.
    """
    if source.is_dir():
        return source
    if not source.is_file():
        raise BadSource(f"{source} does not exist. Expected a folder or a zip file on the server.")
    try:
        with zipfile.ZipFile(source) as archive:
            _unpack(archive, source, scratch, [] if refused is None else refused, beat)
    except zipfile.BadZipFile as error:
        raise BadSource(f"{source.name} is not a zip file, or it is damaged ({error}). Pack it again.") from error
    return scratch


def _unpack(
    archive: zipfile.ZipFile, source: Path, scratch: Path, refused: list[tuple[str, str]], beat: Callable[[], None]
) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    members = list(_acceptable(archive, refused))
    _check_total(members, source, scratch)
    for member, name in members:
        beat()
        reason = _extract(archive, member, scratch / name, temporary=scratch / ".unpacking")
        if reason:
            refused.append((member.filename, reason))


def _acceptable(
    archive: zipfile.ZipFile, refused: list[tuple[str, str]]
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    seen: set[PurePosixPath] = set()
    for member in archive.infolist():
        name = PurePosixPath(member.filename)
        reason = _objection_to_name(member.filename)
        if member.is_dir() or (not reason and is_hidden(Path(name))):
            continue
        reason = reason or _objection(member) or ("this name comes twice in the archive." if name in seen else "")
        if reason:
            refused.append((member.filename, reason))
            continue
        seen.add(name)
        yield member, name


def _objection_to_name(name: str) -> str:
    """Why no file of this name may be written; empty if one may."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":":
        return "its path leads out of the folder, or is none here. Pack with relative paths and forward slashes."
    if not name.isprintable() or any(len(part.encode()) > 255 for part in path.parts):
        return "its name is too long or holds characters that no file name should."
    return ""


def _objection(member: zipfile.ZipInfo) -> str:
    """Why a member must not be unpacked; empty if it may."""
    if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG}:
        return "it is a link or a device, not a file. Pack the file itself."
    if member.flag_bits & _ENCRYPTED:
        return "it is encrypted. Pack without a password."
    if member.file_size > MAX_MEMBER_BYTES:
        return f"it unpacks to {_mib(member.file_size)}; at most {_mib(MAX_MEMBER_BYTES)} are taken."
    if member.file_size > max(RATIO_COUNTS_FROM, MAX_RATIO * member.compress_size):
        return f"it unpacks to {_mib(member.file_size)}, over {MAX_RATIO} times its size: a decompression bomb."
    return ""


def _check_total(members: list[tuple[zipfile.ZipInfo, PurePosixPath]], source: Path, scratch: Path) -> None:
    total = sum(member.file_size for member, _ in members)
    if len(members) > MAX_MEMBERS or total > MAX_BYTES:
        raise BadSource(
            f"{source.name} holds {len(members)} files of {_mib(total)}; at most {MAX_MEMBERS} files "
            f"and {_mib(MAX_BYTES)} are taken. Import it in parts."
        )
    missing = [member for member, name in members if not (scratch / name).exists()]
    needed = sum(member.file_size for member in missing) + SPARE_BYTES
    free = shutil.disk_usage(scratch).free
    if missing and needed > free:
        raise BadSource(f"{source.name} needs {_mib(needed)} on the disk, {_mib(free)} are free. Make room.")


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, *, temporary: Path) -> str:
    """Write one member, whole or not at all. Why that failed; empty if it went well."""
    if target.is_file() and target.stat().st_size == member.file_size:
        return ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as packed, temporary.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, length=2**20)
        temporary.replace(target)
    except _DAMAGED as error:
        return f"it is damaged or packed in an unknown way ({error}). Pack it again."
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return "the archive holds a file and a folder of the same name."
    finally:
        temporary.unlink(missing_ok=True)
    return ""


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
