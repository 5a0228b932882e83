"""The data set of a project, a page at a time: images by split, by what their masks show, by whose masks these are.

A page costs a fixed number of queries, however many images there are: it goes on after the last image seen (keyset),
and the masks of its images alone are looked up.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import QueryDict
from django.urls import reverse

from catalog import browsing
from catalog.models import DefectClass, Image, Label, Project, Split
from console import overlays
from console.pictures import MASKS, NAMED, shard_identity
from rounds.models import PseudoLabel, StageFile

PAGE = 96  # images: two screens of a large window
# Whose masks; where an image has several, the first of these is shown.
SOURCES = {"people": "drawn by people", "import": "came with the images", "script": "by a script",
           "pseudo": "pseudo-labels"}  # fmt: skip
NO_MASK = "none"
COMPANY = "several"  # asked for as a scene: surfaces that several images show


@dataclass(frozen=True)
class Filters:
    """What is asked for; empty: everything. `scene`: one by its number, or COMPANY."""

    split: str = ""
    shows: str = ""  # index of a class; "0": no defect
    source: str = ""
    scene: str = ""
    name: str = ""

    def address(self, **others: str) -> str:
        """The query of the same page with some filters changed."""
        asked = {name: value for name, value in vars(replace(self, **others)).items() if value}
        return f"?{urlencode(asked)}"


@dataclass(frozen=True)
class Mask:
    """A mask that an image has: whose, what it shows (None: not known yet), where its pictures are."""

    source: str
    shows: frozenset[int] | None
    thumbnail: str
    layer: str
    row: Any  # the label, given truth or pseudo-label


@dataclass(frozen=True)
class Tile:
    """An image on the page, with the mask that is shown; `plain` is its picture without."""

    image: Image
    mask: Mask | None
    plain: str
    classes: tuple[DefectClass, ...]


@dataclass(frozen=True)
class Page:
    tiles: list[Tile]
    after: int | None  # the image the next page goes on after; None: this is the last


def filters_of(asked: QueryDict, classes: Collection[DefectClass]) -> Filters:
    """The filters of a query; what is not understood is left out."""
    known = {
        "split": {*Split.values, browsing.KEPT_OUT},
        "shows": {str(browsing.NO_DEFECT), *(str(one.index) for one in classes)},
        "source": {*SOURCES, NO_MASK},
    }
    chosen = {name: value for name, values in known.items() if (value := asked.get(name, "")) in values}
    scene = asked.get("scene", "")
    # Nine digits: PostgreSQL refuses what does not fit a bigint.
    understood = scene if scene == COMPANY or (scene.isascii() and scene.isdigit() and len(scene) < 10) else ""
    return Filters(**chosen, scene=understood, name=asked.get("name", "").replace("\0", "").strip()[:100])


def found(project: Project, filters: Filters, *, truth: bool) -> QuerySet[Image]:
    """The project's images that fit; truth: whether given truth may be seen."""
    images = Image.objects.filter(project=project).defer("descriptor")
    if filters.split:
        images = images.filter(browsing.in_split(filters.split))
    if filters.name:
        images = images.filter(name__icontains=filters.name)
    if filters.scene:
        company = filters.scene == COMPANY
        images = images.filter(browsing.with_company(project.pk) if company else Q(scene=filters.scene))
    if filters.source or filters.shows:
        images = images.filter(_masked(project, filters, truth=truth))
    return images


def page(images: QuerySet[Image], project: Project, filters: Filters, *, after: str, truth: bool) -> Page:
    """The images that come after the one with this key (empty: the first), with their masks."""
    # Images of one surface stand together where only those are asked for.
    order = ("scene_id", "name") if filters.scene == COMPANY else ("name",)
    last = Image.objects.filter(project=project, pk=after).values_list(*order).first() if _is_key(after) else None
    if last:
        images = images.filter(_beyond(order, last))
    some = list(images.order_by(*order)[: PAGE + 1])
    classes = {one.index: one for one in project.classes.all()}
    masks = masks_of(some[:PAGE], classes, sources=[filters.source] if filters.source else list(SOURCES), truth=truth)
    tiles = [tile(image, next(iter(masks[image.pk].values()), None), classes) for image in some[:PAGE]]
    return Page(tiles, tiles[-1].image.pk if len(some) > PAGE else None)


def tile(image: Image, mask: Mask | None, classes: Mapping[int, DefectClass]) -> Tile:
    shown = tuple(classes[index] for index in sorted(mask.shows or ()) if index in classes) if mask else ()
    return Tile(image, mask, _named(reverse("image-thumbnail", args=[image.pk]), image), shown)


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


def in_splits(project: Project) -> dict[str, int]:
    """How many of the project's images are in each split and kept out; "" for all of them."""
    asked = {split: browsing.in_split(split) for split in (*Split.values, browsing.KEPT_OUT)}
    counted = {split: Count("pk", filter=one) for split, one in asked.items()}
    counts = Image.objects.filter(project=project).aggregate(every=Count("pk"), **counted)
    return {"": counts.pop("every"), **counts}


def _of_source(source: str, views: Mapping[int, Image], colours: Mapping[int, str], *, truth: bool) -> list[Mask]:
    if source == "pseudo":
        return _pseudo(views, colours)
    given = browsing.truth_of(views).values() if source == "import" and truth else ()
    labels = _labels(source).filter(image__in=views).select_related("annotator")
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
    rows = list(_latest_pseudo().filter(image__in=views).select_related("prediction__model", "stage__round__campaign"))
    shards = dict(
        StageFile.objects.filter(stage__in={one.prediction.stage_id for one in rows}, name=MASKS).values_list(
            "stage", "sha256"
        )
    )
    return [
        _mask(
            "pseudo",
            one,
            [index for index, pixels in enumerate(one.prediction.class_pixels) if index and pixels],
            shard_identity(shards[one.prediction.stage_id], one.prediction.member),
            views[one.image_id],
            colours,
            {"prediction": one.prediction_id},
        )
        for one in rows
        if one.prediction.stage_id in shards
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


def _masked(project: Project, filters: Filters, *, truth: bool) -> Q:
    """Of images: those whose shown mask comes from this source and shows this."""
    showing = int(filters.shows) if filters.shows else None
    if filters.source and filters.source != NO_MASK:
        return _having(filters.source, project, showing, truth=truth)
    fits, without = Q(pk__in=[]), Q()
    for layer, fitting in zip(_layers(project, None, truth=truth), _layers(project, showing, truth=truth), strict=True):
        fits |= without & fitting
        without &= ~layer
    return without if filters.source == NO_MASK else fits


def _layers(project: Project, showing: int | None, *, truth: bool) -> list[Q]:
    """Of images: those with a mask that shows this (None: anything), by source; where several have one, the first is
    shown. People and imports are one: the newer of their labels counts.
    """
    labels = browsing.counting(scripted=False).filter(browsing.shows(showing), image__project=project)
    given = [browsing.with_truth(project.pk, showing)] if truth else []
    others = [_having(source, project, showing, truth=truth) for source in ("script", "pseudo")]
    return [Q(pk__in=labels.values("image")), *given, *others]


def _having(source: str, project: Project, showing: int | None, *, truth: bool) -> Q:
    """Of images: those that have a mask of this source that shows this (None: anything)."""
    if source == "pseudo":
        return Q(pk__in=_pseudo_showing(project, showing).values("image"))
    labels = _labels(source).filter(browsing.shows(showing), image__project=project)
    having = Q(pk__in=labels.values("image"))
    return having | browsing.with_truth(project.pk, showing) if source == "import" and truth else having


def _labels(source: str) -> QuerySet[Label]:
    labels = browsing.counting(scripted=source == "script")
    return labels if source == "script" else labels.filter(annotator__isnull=source == "import")


def _latest_pseudo() -> QuerySet[PseudoLabel]:
    """The newest pseudo-label of each image."""
    newer = PseudoLabel.objects.filter(image=OuterRef("image"), stage__gt=OuterRef("stage"))
    return PseudoLabel.objects.filter(~Exists(newer))  # a stage accepts an image once


def _pseudo_showing(project: Project, showing: int | None) -> QuerySet[PseudoLabel]:
    pseudo = _latest_pseudo().filter(image__project=project)
    if showing is None:
        return pseudo
    if showing == browsing.NO_DEFECT:
        indices = project.classes.values_list("index", flat=True)
        return pseudo.filter(**{f"prediction__class_pixels__{index}": 0 for index in indices})
    return pseudo.filter(**{f"prediction__class_pixels__{showing}__gt": 0})


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _beyond(order: tuple[str, ...], last: tuple[Any, ...]) -> Q:
    """Rows that come after `last` in this order."""
    first, *others = order
    if not others:
        return Q(**{f"{first}__gt": last[0]})
    return Q(**{f"{first}__gt": last[0]}) | Q(**{first: last[0]}) & _beyond(tuple(others), last[1:])
