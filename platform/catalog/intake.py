"""One file of a source on its way in: read, checked, its view and mask made and written.

No row is touched here, so that several threads can do it side by side.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from annotation.formats import Annotated
from annotation.masks import Mask, MaskError
from catalog import files
from catalog.labels import classes_shown, index_png, write_mask
from catalog.viewing import Unreadable, make_view, read_bounded
from ml import landmarks, scenes

MAX_NAME = 500  # characters, as the rows hold


@dataclass(frozen=True)
class Known:
    """An image that is in the project already, and the sha256 of the mask that came with it, if any."""

    pk: int
    sha256: str
    width: int
    height: int
    mask_sha256: str | None


@dataclass(frozen=True)
class Plan:
    """What all files of an import have in common."""

    project_id: int
    mask_kind: str  # "references" or "labels"
    classes: int
    bits: int  # of 16-bit images (viewing.depth_of)
    format: str
    splits: Mapping[str, str]  # image name -> the split its format names, whether or not that is followed


@dataclass(frozen=True)
class StoredFile:
    path: str
    sha256: str


@dataclass(frozen=True)
class StoredMask:
    path: str
    sha256: str
    classes: list[int]
    origins: Mapping[str, int]
    provenance: dict[str, str]


@dataclass(frozen=True)
class NewImage:
    """A file that is fit to go in; what it needs is written."""

    name: str
    original: StoredFile
    view: StoredFile
    width: int
    height: int
    bits: int | None
    descriptor: bytes
    landmarks: bytes
    provenance: dict[str, str]
    mask: StoredMask | None


@dataclass(frozen=True)
class OldImage:
    """A file that is in already, and a mask that is new to it."""

    known: Known
    mask: StoredMask | None


@dataclass(frozen=True)
class Refused:
    name: str
    reason: str


def take_in(found: Annotated, known: Known | None, plan: Plan) -> NewImage | OldImage | Refused:
    """What becomes of a file. An image whose mask is refused stays out with it: a pair goes in whole or not at all."""
    name = _printable(found.name)
    if name != found.name or len(name) > MAX_NAME:
        return Refused(name[:MAX_NAME], f"its path is over {MAX_NAME} characters, or cannot be shown. Rename it.")
    try:
        content = read_bounded(found.image)
        return _old_image(found, content, known, plan) if known else _new_image(found, content, plan)
    except Unreadable as error:
        return Refused(name, str(error))
    except MaskError as error:
        return Refused(found.mask_name[:MAX_NAME], f"{error} Its image {name} waits outside with it.")


def _new_image(found: Annotated, content: bytes, plan: Plan) -> NewImage:
    view = make_view(content, bits=plan.bits)
    height, width = view.grey.shape
    # Checked before a byte is written: what is refused leaves nothing behind.
    mask = found.mask(plan.classes, (width, height)) if found.mask else None
    return NewImage(
        name=found.name,
        original=StoredFile(*files.keep("originals", plan.project_id, content, found.image.suffix.lower())),
        view=StoredFile(*files.keep("views", plan.project_id, view.png, ".png")),
        width=width,
        height=height,
        bits=view.bits,
        descriptor=scenes.descriptor(view.grey),
        landmarks=landmarks.describe(view.grey),
        provenance=_image_provenance(found, plan),
        mask=_stored(found, mask, plan) if mask is not None else None,
    )


def _old_image(found: Annotated, content: bytes, known: Known, plan: Plan) -> OldImage:
    if hashlib.sha256(content).hexdigest() != known.sha256:
        raise Unreadable("the project holds another picture of this name. Images never change: give it a new name.")
    if found.mask is None:
        return OldImage(known, mask=None)
    mask = found.mask(plan.classes, (known.width, known.height))
    if known.mask_sha256 is None:
        return OldImage(known, _stored(found, mask, plan))
    if hashlib.sha256(index_png(mask)).hexdigest() != known.mask_sha256:
        raise MaskError("the image came with another mask before, which stays. Correct it in Label Studio.")
    return OldImage(known, mask=None)


def _stored(found: Annotated, mask: Mask, plan: Plan) -> StoredMask:
    path, sha256 = write_mask(plan.mask_kind, plan.project_id, mask)
    told = {"kind": found.provenance.kind, "by": found.provenance.by, "file": found.mask_name}
    return StoredMask(path, sha256, classes_shown(mask), found.provenance.origins, _known(told))


def _image_provenance(found: Annotated, plan: Plan) -> dict[str, str]:
    """Where the image first came from: what its source says, otherwise the source itself."""
    here = {"format": plan.format, "file": found.name, "split": plan.splits.get(found.name, "")}
    before = {name: getattr(found.provenance, name) for name in here}
    return _known(before if before["format"] else here)


def _known(told: Mapping[str, str]) -> dict[str, str]:
    return {name: _printable(value) for name, value in told.items() if value}


def _printable(name: str) -> str:
    """The name with a question mark for what no database text can hold: bytes that are no UTF-8, and NUL."""
    return name.encode("utf-8", "replace").decode().replace("\0", "?")
