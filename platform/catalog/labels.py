"""Answers of people, stored: never edited, heard twice stored once."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from numpy.typing import NDArray

from annotation.masks import IGNORE, write_index_png
from catalog import files
from catalog.models import Image, Label


def store_label(
    image: Image,
    mask: NDArray[np.uint8],
    *,
    annotator: User | None,
    scripted: bool,
    seconds: float | None,
    origins: Mapping[str, int],
    external_key: str,
) -> Label:
    """The label with this external key, made from `mask` (H, W) unless it is there already.

    Raises:
        ValueError: the mask does not fit the image or the project's classes.
    """
    if known := Label.objects.filter(external_key=external_key).first():
        return known
    _check(image, mask)
    path, sha256 = write_mask("labels", image.project_id, mask)
    values: dict[str, Any] = {
        "image": image, "annotator": annotator, "scripted": scripted, "path": path, "sha256": sha256,
        "seconds": seconds, "origins": dict(origins), "classes": classes_shown(mask),
    }  # fmt: skip
    return Label.objects.get_or_create(external_key=external_key, defaults=values)[0]


def withdraw(image: Image, *, annotator: User | None, scripted: bool, external_key: str) -> Label:
    """The row that takes the image's earlier label back, made unless it is there already."""
    values: dict[str, Any] = {"image": image, "annotator": annotator, "scripted": scripted, "withdrawn": True}
    return Label.objects.get_or_create(external_key=external_key, defaults=values)[0]


def reinstate(label: Label, *, external_key: str) -> Label:
    """The row that makes an earlier label the image's latest again, made unless it is there already."""
    values: dict[str, Any] = {
        "image": label.image, "annotator": label.annotator, "scripted": label.scripted, "path": label.path,
        "sha256": label.sha256, "seconds": label.seconds, "origins": label.origins, "classes": label.classes,
        "provenance": label.provenance,
    }  # fmt: skip
    return Label.objects.get_or_create(external_key=external_key, defaults=values)[0]


def write_mask(kind: str, project_id: int, mask: NDArray[np.uint8]) -> tuple[str, str]:
    """(path, sha256) of the mask as a file of `kind`, "labels" or "references"; equal masks share one file."""
    return files.keep(kind, project_id, index_png(mask), ".png")


def classes_shown(mask: NDArray[np.uint8]) -> list[int]:
    """The indices of the classes that a mask shows, in order."""
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE + 1)).tolist()
    return [index for index in present if index not in {0, IGNORE}]


def index_png(mask: NDArray[np.uint8]) -> bytes:
    """The mask as a file's content."""
    content = io.BytesIO()
    write_index_png(content, mask)
    return content.getvalue()


def _check(image: Image, mask: NDArray[np.uint8]) -> None:
    size = (image.height, image.width)
    if mask.dtype != np.uint8 or mask.shape != size:
        raise ValueError(f"label of {image}: expected uint8 {size}, got {mask.dtype} {mask.shape}")
    known = {0, IGNORE, *image.project.classes.values_list("index", flat=True)}
    if unknown := sorted(set(np.unique(mask).tolist()) - known):
        raise ValueError(
            f"label of {image}: holds {unknown}; project {image.project} knows {sorted(known)}. "
            "Add the class, or draw it again."
        )
