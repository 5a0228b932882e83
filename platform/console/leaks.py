"""What the splits of a project share with training, in words, for every place where a score stands."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst

from catalog.models import Project, Statistics
from console.words import SPLITS, count, percent


@dataclass(frozen=True)
class Leak:
    """One split. `lookup`: mean IoU of copying the masks of known surfaces, background included; `given`: this is
    about the split as it was given, with the images that Burnish keeps out.
    """

    split: str
    given: bool
    shared: int
    of: int
    lookup: float | None
    sentence: str


def leaks_of(projects: Collection[Project]) -> dict[int, list[Leak] | None]:
    """The latest findings about each project, one query for all; None before a worker has looked."""
    latest = Statistics.objects.filter(project__in=projects).order_by("project", "-computed_at").distinct("project")
    found = dict(latest.values_list("project", "figures__leaks"))
    return {one.pk: [_leak(told) for told in found[one.pk]] if one.pk in found else None for one in projects}


def of_project(project: Project) -> list[Leak] | None:
    """The latest findings about one project."""
    return leaks_of([project])[project.pk]


def _leak(told: dict[str, Any]) -> Leak:
    return Leak(told["split"], told["given"], told["shared"], told["of"], told["miou"], _sentence(told))


def _sentence(told: dict[str, Any]) -> str:
    if told["given"] and told["shared"]:
        return (
            f"As it was given, the {SPLITS[told['split']]} split leaks: {told['shared']} of its {told['of']} images "
            f"({percent(told['shared'] / told['of'])}) show a surface that training shows too, and copying the masks "
            f"from there scores mIoU {percent(told['miou'])} ({percent(told['miou_foreground'])} without background). "
            "Burnish keeps one side out: no score here rests on such twins."
        )
    if told["shared"]:
        return str(capfirst(told["sentence"]))
    images = count(told["of"], f"{SPLITS[told['split']]} image")
    return (
        f"None of the {images} shows a surface that training shows. A look-up, which copies the masks of known "
        f"surfaces, has nothing to copy and scores mIoU {percent(told['miou'])} (no defect anywhere)."
    )
