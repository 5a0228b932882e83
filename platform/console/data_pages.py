"""The pages about data: the images of a project, one image, and what the whole set holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from catalog import browsing, describing
from catalog.models import DefectClass, Image, Project, Split
from console import dataset, holdings, leaks, masks
from console.dataset import Filters
from console.pictures import SEE_TRUTH
from console.verdicts import Verdict
from rounds.models import Prediction, PseudoLabel


@dataclass(frozen=True)
class Choice:
    """A value of a filter, as a link; `count`: images it would show, where that is known."""

    words: str
    address: str
    chosen: bool
    colour: str = ""
    count: int | None = None


@dataclass(frozen=True)
class Facet:
    title: str
    choices: list[Choice]


def images(request: HttpRequest, pk: int) -> HttpResponse:
    """The images of a project with their masks: a page of them, or the tiles that follow."""
    project = get_object_or_404(Project, pk=pk)
    classes = list(project.classes.all())
    filters = dataset.filters_of(request.GET, project, classes)
    truth = request.user.has_perm(SEE_TRUTH)
    found = dataset.found(project, filters, truth=truth)
    after = request.GET.get("after", "")
    context: dict[str, Any] = {
        "project": project,
        "filters": filters,
        "page": dataset.page(found, project, filters, after=after, truth=truth),
        "query": filters.address(),
    }
    if request.headers.get("HX-Request") and after:
        return render(request, "console/_tiles.html", context)
    counts = dataset.in_splits(project)
    context |= {
        "facets": _facets(filters, classes, counts),
        "every": counts[""],
        "count": found.count() if filters != Filters() else counts[""],
        "begun": bool(after),
    }
    return render(request, "console/images.html", context)


def image(request: HttpRequest, pk: int) -> HttpResponse:
    """One image, large, with the masks it has and all that is known of it; bare inside the page of all."""
    rows = Image.objects.select_related("project", "scene").defer("descriptor")
    one = get_object_or_404(rows, pk=pk)
    truth = request.user.has_perm(SEE_TRUTH)
    classes = {each.index: each for each in one.project.classes.all()}
    found = list(masks.masks_of([one], classes, sources=masks.SOURCES, truth=truth)[one.pk].values())
    context = {
        "image": one,
        "project": one.project,
        "view": masks.view_address(one),
        "masks": [_described(mask, classes) for mask in [*_asked_for(request, one, classes), *found]],
        "company": one.scene.images.exclude(pk=one.pk).count(),
        "scene": reverse("images", args=[one.project_id]) + Filters(scene=str(one.scene_id)).address(),
    }
    inside = request.headers.get("HX-Request")
    return render(request, "console/_image.html" if inside else "console/image.html", context)


def statistics(request: HttpRequest, pk: int) -> HttpResponse:
    """What the data set of a project holds and what will hurt later, as a worker has found it."""
    project = get_object_or_404(Project, pk=pk)
    latest = project.statistics.first()
    outdated = describing.is_outdated(project)
    context: dict[str, Any] = {
        "project": project, "latest": latest, "outdated": outdated, "poll_seconds": 5 if outdated else None,
    }  # fmt: skip
    if latest:
        truth = request.user.has_perm(SEE_TRUTH)
        context |= holdings.shown(project, latest.figures, truth=truth) | {"leaks": leaks.of_project(project)}
    return render(request, "console/statistics.html", context)


def _asked_for(request: HttpRequest, image: Image, classes: dict[int, DefectClass]) -> list[masks.Mask]:
    """The mask of the prediction that the address names: whoever comes from it among others wants to see it first."""
    key = request.GET.get("prediction", "")
    rows = image.predictions.filter(pk=key).select_related("model__project", "image") if dataset.is_key(key) else ()
    return [one.mask for one in masks.tiles_of(list(rows), classes) if one.mask]


def _described(mask: masks.Mask, classes: dict[int, DefectClass]) -> dict[str, Any]:
    row = mask.row
    prediction = row.prediction if isinstance(row, PseudoLabel) else row if isinstance(row, Prediction) else None
    return {
        "source": mask.source,
        "words": masks.SOURCES.get(mask.source, "predicted"),
        "layer": mask.layer,
        "classes": [classes[index] for index in sorted(mask.shows or ()) if index in classes],
        "known": mask.shows is not None,
        "prediction": prediction,
        "row": row,
    }


def _facets(filters: Filters, classes: Sequence[DefectClass], counts: dict[str, int]) -> list[Facet]:
    splits = {"": "all", **{one.value: one.label for one in Split}, browsing.KEPT_OUT: "kept out"}
    shown = {"": ("anything", ""), **{str(one.index): (one.name, one.colour) for one in classes},
             str(browsing.NO_DEFECT): ("no defect", "")}  # fmt: skip
    sources = {"": "whatever there is", **masks.SOURCES, dataset.NO_MASK: "no mask yet"}
    scenes = {"": "all", dataset.COMPANY: "seen more than once"}
    if filters.scene not in scenes:
        scenes[filters.scene] = f"scene {filters.scene}"
    return [
        Facet("Split", [
            Choice(words, filters.address(split=value), filters.split == value, count=counts[value])
            for value, words in splits.items() if counts[value] or value in {"", filters.split}
        ]),
        Facet("Mask shows", [
            Choice(words, filters.address(shows=value), filters.shows == value, colour)
            for value, (words, colour) in shown.items()
        ]),
        _of_verdict(filters, filters.verdict) if filters.verdict else Facet("Mask is", [
            Choice(words, filters.address(source=value), filters.source == value) for value, words in sources.items()
        ]),
        Facet("Surface", [
            Choice(words, filters.address(scene=value), filters.scene == value) for value, words in scenes.items()
        ]),
    ]  # fmt: skip


def _of_verdict(filters: Filters, verdict: Verdict) -> Facet:
    """In place of whose masks: what the stage did with its own."""
    both = sorted([verdict, verdict.opposite()], key=str)
    return Facet(f"Round {verdict.stage.round.number}, {verdict.stage.name}", [
        *(Choice(one.word, filters.address(verdict=one), one == verdict) for one in both),
        Choice("all images", filters.address(verdict=None), chosen=False),
    ])  # fmt: skip
