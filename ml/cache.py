"""Decoded pixels, kept between runs in one memory-mapped file: what was decoded once is not decoded again.

`pixels` holds the values of image after image. `index`, a JSON object a line, says whose they are (sha256 of the file's
content, and as what it was read), where they begin, their shape, and their checksum. Both only grow; deleting the
folder costs a decoding. Importing this module does not import torch.
"""

import fcntl
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Decode = Callable[[], Pixels]
Keep = Callable[[bytes, str, Decode], Pixels]  # content of a file, as what it is read, and how


@contextmanager
def opened(folder: Path | None) -> Iterator[Keep]:
    """Gives the pixels of a file's content, decoded only where they are not kept yet; without a folder always.

    One process at a time: another one waits, and then finds what this one has decoded.
    """
    if folder is None:
        yield _decoded
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "index").open("a+b") as index, (folder / "pixels").open("ab") as pixels:
        fcntl.flock(index, fcntl.LOCK_EX)
        cache = _Cache(index, pixels, folder / "pixels")
        try:
            yield cache.get
        finally:
            cache.finish()


def _decoded(content: bytes, kind: str, decode: Decode) -> Pixels:
    return decode()


class _Cache:
    def __init__(self, index: Any, pixels: Any, path: Path) -> None:
        self._index, self._pixels = index, pixels
        # Private: what is written into a view stays in this process. numpy maps no empty file.
        self._mapped = np.memmap(path, np.uint8, "c") if path.stat().st_size else np.empty(0, np.uint8)
        self._known = dict(self._read())
        self._new: list[str] = []

    def get(self, content: bytes, kind: str, decode: Decode) -> Pixels:
        key = f"{kind} {hashlib.sha256(content).hexdigest()}"
        if key in self._known:
            start, shape, checksum = self._known[key]
            values = self._mapped[start : start + int(np.prod(shape))]
            # A disk that has lost something must not become a picture.
            if _checksum(values) == checksum:
                return values.reshape(shape)
        decoded = np.ascontiguousarray(decode())
        self._new.append(json.dumps([key, self._pixels.tell(), decoded.shape, _checksum(decoded)]))
        self._pixels.write(decoded)
        return decoded

    def finish(self) -> None:
        """Pixels first, then what points at them."""
        if not self._new:
            return
        for file, content in ((self._pixels, b""), (self._index, "".join(f"{line}\n" for line in self._new).encode())):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> Iterator[tuple[str, tuple[int, list[int], int]]]:
        self._index.seek(0)
        content = self._index.read()
        whole = content.rfind(b"\n") + 1  # a process that was killed may have left half a line
        self._index.truncate(whole)
        for line in content[:whole].splitlines():
            key, start, shape, checksum = json.loads(line)
            yield key, (start, shape, checksum)


def _checksum(pixels: Pixels) -> int:
    return zlib.crc32(pixels.data)
