"""A data set at rest: its images, how to get their masks, and what is known beside."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from annotation.masks import ClassInfo, Mask, Size

# (classes, size of the image) -> its mask. Raises MaskError where that cannot be read or is no mask of this kind.
MaskReader = Callable[[int, Size], Mask]

# What did not survive the writing: a sentence with {n} -> how often.
Losses = Counter[str]

WORDS = ("kind", "by", "format", "file", "split")  # of a provenance

WEAK = "weak"  # kind of a mask that only surrounds its defects, as a filled box does


class BadSource(ValueError):
    """A folder or archive that cannot be taken at all; the message says why and what to do."""


@dataclass(frozen=True)
class Provenance:
    """Where a mask comes from, as far as it is known."""

    kind: str = ""  # label, reference, pseudo-label, weak
    by: str = ""  # the person or the model
    origins: Mapping[str, int] = field(default_factory=dict)  # regions by how they came about: manual, prediction, ...
    # Of the image, where it first came in: outlives conversions, which rename files.
    format: str = ""
    file: str = ""
    split: str = ""

    def to_json(self) -> dict[str, Any]:
        """What is known; empty if nothing is."""
        return {name: value for name, value in asdict(self).items() if value}


UNKNOWN = Provenance()


@dataclass(frozen=True)
class Annotated:
    """An image of a source. Its mask is read when it is asked for: a million of these hold no pixel."""

    name: str  # relative to the source
    image: Path
    mask: MaskReader | None = None  # None: nobody looked at the image; "no defect" is an empty mask
    mask_name: str = ""  # the file in which the mask stands, relative to the source
    provenance: Provenance = UNKNOWN


@dataclass(frozen=True)
class Dataset:
    """What a source holds, and by what it was recognised."""

    format: str
    root: Path
    saw: str
    images: tuple[Annotated, ...]  # sorted by name
    classes: tuple[ClassInfo, ...] = ()
    splits: Mapping[str, str] = field(default_factory=dict)  # image name -> train, val or test
    strays: tuple[tuple[str, str], ...] = ()  # (name, reason) of what belongs to no image
    notices: tuple[str, ...] = ()  # what a user has to know about how the source is read
    split_notice: str = ""  # about its splits: void where a user gives others


@dataclass(frozen=True)
class Drawn:
    """An image with its mask in hand, about to be written. `path`: its place below the folder of images."""

    path: PurePosixPath
    image: Path
    size: Size
    mask: Mask | None
    split: str = ""
    provenance: Provenance = UNKNOWN


def read_provenance(value: Any, where: str) -> Provenance:
    """The provenance that `Provenance.to_json` wrote.

    Raises:
        BadSource: It has another form.
    """
    origins = value.get("origins", {}) if isinstance(value, dict) else None
    if (
        not isinstance(origins, dict)
        or not set(value) <= {"origins", *WORDS}
        or not all(isinstance(value.get(name, ""), str) for name in WORDS)
        or not all(isinstance(count, int) for count in origins.values())
    ):
        raise BadSource(f'{where}: expected {{"kind": "label", "by": "anna", "origins": {{"manual": 3}}}}.')
    return Provenance(origins=origins, **{name: value[name] for name in WORDS if name in value})


def read_json(path: Path, *, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """What a JSON file holds.

    Raises:
        BadSource: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_hook=object_hook)
    # JSONDecodeError and UnicodeDecodeError are ValueErrors; a file of brackets alone exhausts the parser.
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{path.name} is not JSON ({error}). Correct it, or leave it out.") from error


def json_files(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files in a folder or its `annotations/` that hold an object, and what they hold.

    Raises:
        BadSource: A file there is not JSON.
    """
    for path in sorted({*root.glob("*.json"), *root.glob("annotations/*.json")}):
        content = read_json(path)
        if isinstance(content, dict):
            yield path, content
