"""Tasks to Label Studio, and answers from it.

A predicted mask becomes one brush region a class; an answer's regions become an index mask again, later ones above.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from annotation import brush, shapes
from annotation.brush import BoolMask
from annotation.label_config import CONTROLS, IMAGE
from annotation.masks import Mask, MaskError, Size

Json = dict[str, Any]

SCORE_DIGITS = 6  # enough for the ranks of a million tasks
BRUSH, _ = CONTROLS["BrushLabels"]

# Type of a region -> what reads its value.
READERS: dict[str, Callable[[Mapping[str, Any], Size], BoolMask]] = {
    "brushlabels": lambda value, size: brush.decode(value.get("rle", ()), size),
    "polygonlabels": shapes.polygon,
    "rectanglelabels": shapes.rectangle,
    "ellipselabels": shapes.ellipse,
}


@dataclass(frozen=True)
class Answer:
    """What a person drew. `origins`: regions by where they came from (manual, prediction, prediction-changed)."""

    mask: Mask
    origins: dict[str, int]


def local_file_url(path: str) -> str:
    """The address of a file below Label Studio's document root, on whatever host a person opened Label Studio."""
    return f"/data/local-files/?d={quote(path)}"


def task(
    *,
    image: str,
    name: str,
    acquisition: int,
    score: float,
    model_version: str,
    mask: Mask | None,
    classes: Sequence[str],
) -> Json:
    """A task with its prediction.

    Args:
        image: Address of the image, relative to Label Studio's own.
        name: The image's, for people to talk about it.
        acquisition: Our id, by which the task is found again.
        score: In [0, 1]; the lowest comes first.
        model_version: The prediction's; without one annotators are shown nothing.
        mask: What to show pre-drawn, or None for a blank canvas. Either way there is a prediction, or the task would
            come last.
        classes: Names, in the order of their indices 1, 2, ...
    """
    if not 0 <= score <= 1:  # NaN too
        raise ValueError(f"expected a score in [0, 1], got {score} for {name}. A task without one would come last.")
    prediction = {
        "model_version": model_version,
        "score": round(score, SCORE_DIGITS),
        "result": [] if mask is None else regions(mask, classes),
    }
    return {"data": {IMAGE: image, "name": name, "acquisition": acquisition}, "predictions": [prediction]}


def regions(mask: Mask, classes: Sequence[str], *, origin: str | None = None) -> list[Json]:
    """One brush region for each class that the mask holds. Ignored pixels are left blank.

    origin: what the editor would say of regions that a person submits; None for a prediction.
    """
    height, width = mask.shape
    present = [(index, label) for index, label in enumerate(classes, start=1) if (mask == index).any()]
    return [
        {
            "id": f"class-{index}",
            "type": "brushlabels",
            "from_name": BRUSH,
            "to_name": IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {"format": "rle", "rle": brush.encode(mask == index), "brushlabels": [label]},
            **({} if origin is None else {"origin": origin}),
        }
        for index, label in present
    ]


def read_answer(result: Iterable[Json], *, classes: Sequence[str], size: Size) -> Answer:
    """The answer that an annotation's `result` gives; no region at all means "no defect".

    Args:
        result: As Label Studio stored it, unchecked: it takes whatever it is sent.
        classes: Names, in the order of their indices 1, 2, ...
        size: Of the image that was shown.

    Raises:
        MaskError: A region has an unknown type or class, belongs to an image of another size, or is broken.
    """
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    origins: Counter[str] = Counter()
    for number, region in enumerate(result, start=1):
        try:
            _check_form(region)
            covered = _covered(region, size)
            mask[covered] = _index(region, classes)
        except MaskError as error:
            raise MaskError(f"region {number}: {error}") from error
        origins[str(region.get("origin", "unknown"))] += 1
    return Answer(mask, dict(origins))


def _check_form(region: Any) -> None:
    kind = str(region.get("type") if isinstance(region, dict) else region)
    if kind not in READERS:
        raise MaskError(
            f"has type {kind:.40}, expected one of {', '.join(READERS)}. Delete it, or draw it as one of these."
        )
    if not isinstance(region.get("value"), dict):
        raise MaskError(f"has the value {region.get('value')!r:.80}, expected an object. Draw it again.")


def _covered(region: Json, size: Size) -> BoolMask:
    drawn_on, turned = (region.get("original_width"), region.get("original_height")), region.get("image_rotation", 0)
    if drawn_on != size or turned:
        raise MaskError(
            f"was drawn on an image of {drawn_on[0]}x{drawn_on[1]} pixels turned by {turned} degrees, "
            f"expected {size[0]}x{size[1]} unturned. Draw it again."
        )
    return READERS[region["type"]](region["value"], size)


def _index(region: Json, classes: Sequence[str]) -> int:
    labels = region["value"].get(region["type"])
    if not isinstance(labels, list) or len(labels) != 1:
        raise MaskError(f"has the classes {labels}, expected exactly one. Give it a class.")
    if labels[0] not in classes:
        raise MaskError(f"has the unknown class {labels[0]!r}, expected one of {', '.join(classes)}. Change its class.")
    return classes.index(labels[0]) + 1
