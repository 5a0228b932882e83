"""The masks that images have, as tiles and layers: whose they are, what they show, where their pictures are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse

from catalog import browsing
from catalog.models import DefectClass, Image, Label
from console import overlays
from console.pictures import MASKS, NAMED, shard_identity
from ml.candidates import shown
from rounds.models import Prediction, PseudoLabel, StageFile

# Whose masks; where an image has several, the first of these is shown.
SOURCES = {"people": "drawn by people", "import": "came with the images", "script": "by a script",
           "pseudo": "pseudo-labels"}  # fmt: skip


@dataclass(frozen=True)
class Mask:
    """A mask that an image has: whose, what it shows (None: not known yet), where its pictures are."""

    source: str
    shows: frozenset[int] | None
    thumbnail: str
    layer: str
    row: Any  # the label, given truth, pseudo-label or prediction


@dataclass(frozen=True)
class Tile:
    """An image on the page, with the mask that is shown; `plain` is its picture without."""

    image: Image
    mask: Mask | None
    plain: str
    classes: tuple[DefectClass, ...]


def tiles_of(predictions: Collection[Prediction], classes: Mapping[int, DefectClass]) -> list[Tile]:
    """The images of predictions, in their order, each under that mask; what it shows is said without stray pixels."""
    colours = {index: one.colour for index, one in classes.items()}
    told = [(one, one, shown(one.class_pixels)) for one in predictions]
    drawn = _in_shards("prediction", told, {one.image_id: one.image for one in predictions}, colours)
    masks = {mask.row.pk: mask for mask in drawn}
    return [tile(one.image, masks.get(one.pk), classes) for one in predictions]


def tile(image: Image, mask: Mask | None, classes: Mapping[int, DefectClass]) -> Tile:
    told = tuple(classes[index] for index in sorted(mask.shows or ()) if index in classes) if mask else ()
    return Tile(image, mask, _named(reverse("image-thumbnail", args=[image.pk]), image), told)


def view_address(image: Image) -> str:
    """Where the large view of an image is."""
    return _named(reverse("image-view", args=[image.pk]), image)


def masks_of(
    images: Collection[Image], classes: Mapping[int, DefectClass], *, sources: Collection[str], truth: bool
) -> dict[int, dict[str, Mask]]:
    """The masks of each image by source, in the order of SOURCES; those of other sources are left out."""
    views = {image.pk: image for image in images}
    colours = {index: one.colour for index, one in classes.items()}
    masks: dict[int, dict[str, Mask]] = {pk: {} for pk in views}
    for source in (one for one in SOURCES if one in sources):
        for mask in _of_source(source, views, colours, truth=truth):
            masks[mask.row.image_id].setdefault(source, mask)
    return masks


def labels_from(source: str) -> QuerySet[Label]:
    labels = browsing.counting(scripted=source == "script")
    return labels if source == "script" else labels.filter(annotator__isnull=source == "import")


def latest_pseudo() -> QuerySet[PseudoLabel]:
    """The newest pseudo-label of each image."""
    newer = PseudoLabel.objects.filter(image=OuterRef("image"), stage__gt=OuterRef("stage"))
    return PseudoLabel.objects.filter(~Exists(newer))  # a stage accepts an image once


def _of_source(source: str, views: Mapping[int, Image], colours: Mapping[int, str], *, truth: bool) -> list[Mask]:
    if source == "pseudo":
        return _pseudo(views, colours)
    given = browsing.truth_of(views).values() if source == "import" and truth else ()
    labels = labels_from(source).filter(image__in=views).select_related("annotator")
    return [
        *(_of_label(source, label, views[label.image_id], colours) for label in labels),
        *(
            _mask(source, one, one.classes, one.sha256, views[one.image_id], colours, {}, prefix="truth-")
            for one in given
        ),
    ]


def _of_label(source: str, label: Label, image: Image, colours: Mapping[int, str]) -> Mask:
    return _mask(source, label, label.classes, label.sha256, image, colours, {"label": label.pk})


def _pseudo(views: Mapping[int, Image], colours: Mapping[int, str]) -> list[Mask]:
    rows = latest_pseudo().filter(image__in=views).select_related("prediction__model", "stage__round__campaign")
    told = [(one, one.prediction, _any_pixel(one.prediction)) for one in rows]
    return _in_shards("pseudo", told, views, colours)


def _any_pixel(prediction: Prediction) -> list[int]:
    return [index for index, pixels in enumerate(prediction.class_pixels) if index and pixels]


def _in_shards(
    source: str,
    told: Collection[tuple[PseudoLabel | Prediction, Prediction, list[int]]],
    views: Mapping[int, Image],
    colours: Mapping[int, str],
) -> list[Mask]:
    """Masks that lie in shards.  told: row, its prediction, what it shows."""
    stages = {prediction.stage_id for _, prediction, _ in told}
    shards = dict(StageFile.objects.filter(stage__in=stages, name=MASKS).values_list("stage", "sha256"))
    return [
        _mask(
            source,
            row,
            shows,
            shard_identity(shards[prediction.stage_id], prediction.member),
            views[prediction.image_id],
            colours,
            {"prediction": prediction.pk},
        )
        for row, prediction, shows in told
        if prediction.stage_id in shards
    ]


def _mask(  # noqa: PLR0917 - one description of a mask
    source: str,
    row: Any,
    shows: Collection[int] | None,
    identity: str,
    image: Image,
    colours: Mapping[int, str],
    arguments: Mapping[str, int],
    prefix: str = "image-",
) -> Mask:
    kwargs = {"pk": image.pk, **arguments}
    thumbnail, layer = (
        _named(reverse(f"{prefix}{kind}", kwargs=kwargs), image, identity, colours) for kind in ("overlay", "mask")
    )
    return Mask(source, None if shows is None else frozenset(shows), thumbnail, layer, row)


def _named(address: str, image: Image, identity: str = "", colours: Mapping[int, str] | None = None) -> str:
    """An address that names the picture it leads to: it may be kept for good."""
    return f"{address}?v={overlays.key(image.view_sha256, identity, colours)[:NAMED]}"
