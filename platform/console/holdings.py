"""What the statistics page tabulates: stored figures with their words, shares and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from catalog.models import DefectClass, Image, Project
from console import masks
from console.charts import columns
from console.masks import Tile
from console.words import SPLITS, count

DRAWN = ("people", "import")  # whose masks the statistics are about


@dataclass(frozen=True)
class ClassRow:
    """A class: how often, how much, how large (pixels at 10, 50 and 90 % of its objects), beside which others."""

    of: DefectClass
    figures: Mapping[str, Any]
    share_of_images: float
    sizes: SafeString
    together: list[tuple[int, float]]


@dataclass(frozen=True)
class Samples:
    """Pictures of a class, from the least to the most of it; without a class: of no defect."""

    of: DefectClass | None
    tiles: list[Tile]


def shown(project: Project, figures: dict[str, Any], *, truth: bool) -> dict[str, Any]:
    """The figures as the page takes them."""
    classes = {one.index: one for one in project.classes.all()}
    masked = figures["masks"]
    rows = [
        _row(classes[told["index"]], told, together, masked)
        for told, together in zip(figures["classes"], figures["together"], strict=True)
        if told["index"] in classes
    ]
    return {
        "figures": figures,
        "clean": figures["clean"] / masked if masked else None,
        "splits": [(words, figures["splits"][split]) for split, words in SPLITS.items()],
        "classes": rows,
        "gallery": _gallery(figures["gallery"], classes, truth=truth),
    }


def _row(of: DefectClass, told: Mapping[str, Any], together: Sequence[int], masks: int) -> ClassRow:
    bounds = [(2**power, 2 ** (power + 1) - 1) for power in range(len(told["histogram"]))]
    names = [f"{low:,} to {high:,} pixels" if high > low else "1 pixel" for low, high in bounds]
    own = max(told["images"], 1)
    return ClassRow(
        of=of,
        figures=told,
        share_of_images=told["images"] / masks if masks else 0.0,
        sizes=columns(told["histogram"], title=f"Sizes of {count(told['objects'], 'object')}", names=names),
        together=[(number, number / own) for number in together],
    )


def _gallery(told: Sequence[Mapping[str, Any]], classes: Mapping[int, DefectClass], *, truth: bool) -> list[Samples]:
    wanted = {pk for row in told for pk in row["images"]}
    images = Image.objects.filter(pk__in=wanted).defer("descriptor").in_bulk()
    drawn = masks.masks_of(images.values(), classes, sources=DRAWN, truth=truth)
    tiles = {pk: masks.tile(one, next(iter(drawn[pk].values()), None), classes) for pk, one in images.items()}
    # Whose masks may not be seen must not be told by the company of an image either.
    seen = [(row, [tiles[pk] for pk in row["images"] if pk in tiles and tiles[pk].mask]) for row in told]
    return [Samples(classes.get(row["index"]), some) for row, some in seen if some]
