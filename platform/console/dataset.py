"""The data set of a project, a page at a time: images by split, by what their masks show, by whose masks these are.

A page costs a fixed number of queries, however many images there are: it goes on after the last image seen (keyset),
and the masks of its images alone are looked up.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, F, Q, QuerySet
from django.http import QueryDict

from catalog import browsing
from catalog.models import DefectClass, Image, Project, Split
from console import masks, verdicts
from console.masks import SOURCES, Tile
from console.verdicts import Verdict
from rounds.models import Prediction, PseudoLabel

PAGE = 96  # images: two screens of a large window
NO_MASK = "none"
COMPANY = "several"  # asked for as a scene: surfaces that several images show


@dataclass(frozen=True)
class Filters:
    """What is asked for; empty: everything. `scene`: one by its number, or COMPANY.

    verdict: the masks that a select stage accepted, or those that it refused, instead of the masks of a source.
    """

    split: str = ""
    shows: str = ""  # index of a class; "0": no defect
    source: str = ""
    scene: str = ""
    name: str = ""
    verdict: Verdict | None = None

    def address(self, **others: Any) -> str:
        """The query of the same page with some filters changed."""
        asked = {name: value for name, value in vars(replace(self, **others)).items() if value}
        return f"?{urlencode(asked)}"


@dataclass(frozen=True)
class Page:
    tiles: list[Tile]
    after: int | None  # the image the next page goes on after; None: this is the last


def filters_of(asked: QueryDict, project: Project, classes: Collection[DefectClass]) -> Filters:
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
    return Filters(
        **chosen,
        scene=understood,
        name=asked.get("name", "").replace("\0", "").strip()[:100],
        verdict=verdicts.of_text(asked.get("verdict", ""), project),
    )


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
    if filters.verdict:
        images = images.filter(pk__in=_judged_showing(project, filters.verdict, filters.shows).values("image"))
    elif filters.source or filters.shows:
        images = images.filter(_masked(project, filters, truth=truth))
    return images


def page(images: QuerySet[Image], project: Project, filters: Filters, *, after: str, truth: bool) -> Page:
    """The images that come after the one with this key (empty: the first), with their masks."""
    classes = {one.index: one for one in project.classes.all()}
    if filters.verdict:
        return _judged_page(images, filters.verdict, classes, after=after)
    # Images of one surface stand together where only those are asked for.
    order = ("scene_id", "name") if filters.scene == COMPANY else ("name",)
    last = Image.objects.filter(project=project, pk=after).values_list(*order).first() if is_key(after) else None
    if last:
        images = images.filter(_beyond(order, last))
    some = list(images.order_by(*order)[: PAGE + 1])
    sources = [filters.source] if filters.source else list(SOURCES)
    found = masks.masks_of(some[:PAGE], classes, sources=sources, truth=truth)
    tiles = [masks.tile(image, next(iter(found[image.pk].values()), None), classes) for image in some[:PAGE]]
    return Page(tiles, tiles[-1].image.pk if len(some) > PAGE else None)


def in_splits(project: Project) -> dict[str, int]:
    """How many of the project's images are in each split and kept out; "" for all of them."""
    asked = {split: browsing.in_split(split) for split in (*Split.values, browsing.KEPT_OUT)}
    counted = {split: Count("pk", filter=one) for split, one in asked.items()}
    counts = Image.objects.filter(project=project).aggregate(every=Count("pk"), **counted)
    return {"": counts.pop("every"), **counts}


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
    labels = masks.labels_from(source).filter(browsing.shows(showing), image__project=project)
    having = Q(pk__in=labels.values("image"))
    return having | browsing.with_truth(project.pk, showing) if source == "import" and truth else having


def _pseudo_showing(project: Project, showing: int | None) -> QuerySet[PseudoLabel]:
    pseudo = masks.latest_pseudo().filter(image__project=project)
    if showing is None:
        return pseudo
    if showing == browsing.NO_DEFECT:
        indices = project.classes.values_list("index", flat=True)
        return pseudo.filter(**{f"prediction__class_pixels__{index}": 0 for index in indices})
    return pseudo.filter(**{f"prediction__class_pixels__{showing}__gt": 0})


def _judged_showing(project: Project, verdict: Verdict, shows: str) -> QuerySet[Prediction]:
    predictions = verdicts.of(verdict)
    if not shows:
        return predictions
    return verdicts.showing(predictions, int(shows), project.classes.values_list("index", flat=True))


def _judged_page(images: QuerySet[Image], verdict: Verdict, classes: Mapping[int, DefectClass], *, after: str) -> Page:
    """The most trustworthy first.  images: those that fit, of this verdict."""
    order = ("doubt", "image__name")
    judged = verdicts.judged(verdict.stage, verdict.predicted).annotate(doubt=1 - F("score"))
    last = judged.filter(image=int(after)).values_list(*order).first() if is_key(after) else None
    asked = judged.filter(_beyond(order, last)) if last else judged
    rows = asked.filter(image__in=images).select_related("image").defer("image__descriptor")
    some = list(rows.order_by(*order)[: PAGE + 1])
    return Page(masks.tiles_of(some[:PAGE], classes), some[PAGE - 1].image_id if len(some) > PAGE else None)


def is_key(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _beyond(order: tuple[str, ...], last: tuple[Any, ...]) -> Q:
    """Rows that come after `last` in this order."""
    first, *others = order
    if not others:
        return Q(**{f"{first}__gt": last[0]})
    return Q(**{f"{first}__gt": last[0]}) | Q(**{first: last[0]}) & _beyond(tuple(others), last[1:])
