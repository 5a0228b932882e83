"""The pictures below a folder, and what one file or several say about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from annotation.formats.dataset import Annotated, BadSource
from annotation.formats.layout import in_order, pictures


@dataclass
class Listing:
    """Pictures by their names below `root`: those listed, each once, and those nobody looked at.

    apart: a folder below `root` whose pictures are masks, as of COCO's panoptic files, not photographs.
    """

    root: Path
    apart: str | None = None
    images: dict[str, Annotated] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    strays: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        named = ((path.relative_to(self.root), path) for path in pictures(self.root))
        self.pictures = {name.as_posix(): path for name, path in named if name.parts[0] != self.apart}
        self._by_last_part: dict[str, list[str]] = {}
        for name in self.pictures:
            self._by_last_part.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, called: str, folders: Sequence[str]) -> str | None:
        """The picture of this name in one of the folders, in the root, or the only one anywhere that is called so.

        Looked up, never opened: a name cannot lead out of the folder.
        """
        called = called.replace("\\", "/")
        tried = (PurePosixPath(folder, called).as_posix() for folder in (*folders, "."))
        if found := next((one for one in tried if one in self.pictures), None):
            return found
        named_so = self._by_last_part.get(PurePosixPath(called).name, [])
        return named_so[0] if len(named_so) == 1 else None

    def claim(self, called: str, folders: Sequence[str], where: str) -> str | None:
        """The picture that a file lists under this name; a stray if it is not there.

        Raises:
            BadSource: It was listed before.
        """
        name = self.find(called, folders)
        if name is None:
            self.strays.append((f"{where}: {called}"[:500], "this image is listed, but not there. Add it."))
        elif name in self.images:
            raise BadSource(f"{where}: {name} is listed twice. List every image once.")
        return name

    def add(self, one: Annotated, split: str) -> None:
        """Take what a file says about a picture."""
        self.images[one.name] = one
        if split:
            self.splits[one.name] = split

    def all(self) -> tuple[Annotated, ...]:
        """All pictures; what no file lists has not been looked at."""
        unlisted = (Annotated(name, path) for name, path in self.pictures.items() if name not in self.images)
        return in_order([*self.images.values(), *unlisted])
