"""Look before leaping: are there labels to train on, do they show defects, do the splits keep their scenes apart?"""

from collections import Counter
from typing import Any

import numpy as np
from django.db.models import Count, Q

from annotation.masks import read_index_mask
from catalog import files
from catalog.models import Label, Project, Split
from ml import planning
from rounds import campaigns, transitions
from rounds.models import Campaign, Stage

BEAT_EVERY = 200  # masks; reading one takes milliseconds


class Unprepared(ValueError):
    """A training would be pointless or dishonest; the message says what to do about it."""


def run(stage: Stage) -> None:
    """Leave counts in words; fail with what to do where a training makes no sense.

    Raises:
        Unprepared: no label, no defect on any label, or scenes that two splits share.
    """
    campaign = stage.round.campaign
    _refuse_shared_scenes(campaign.project)
    labels = list(campaign.labels().filter(image__split=Split.TRAIN).select_related("image"))
    if not labels:
        raise Unprepared("No training image has a label. Label some images first, or import masks with them.")
    shown, pixels = _labels_per_class(stage, labels)
    names = campaign.project.class_names()
    if not any(shown[index] for index in range(1, len(names) + 1)):
        raise Unprepared(
            f"All {len(labels)} labels are empty: there is no defect to learn. Label images that show one."
        )
    result = _result(campaign, labels, {name: shown[index] for index, name in enumerate(names, start=1)})
    defects = sum(pixels[index] for index in range(1, len(names) + 1))
    transitions.finish(stage, lambda: None, result | {"defect_share": defects / (pixels[0] + defects)})


def _refuse_shared_scenes(project: Project) -> None:
    shared = (
        project.scenes.annotate(splits=Count("images__split", filter=Q(images__kept_out=""), distinct=True))
        .filter(splits__gt=1)
        .values_list("pk", flat=True)
    )
    if shared:
        raise Unprepared(
            f"{len(shared)} scenes have images in more than one split (scene {shared[0]} is the first): scores would "
            "flatter. Import the images again, so that each scene lies in one split."
        )


def _labels_per_class(stage: Stage, labels: list[Label]) -> tuple[Counter[int], Counter[int]]:
    """How many labels show each index, and on how many pixels."""
    classes = stage.round.campaign.project.classes.count()
    shown, pixels = Counter[int](), Counter[int]()
    for number, label in enumerate(labels):
        if number % BEAT_EVERY == 0:
            transitions.beat(stage, {"step": number, "steps": len(labels)})
        size = (label.image.width, label.image.height)
        found = np.unique(read_index_mask(files.absolute(label.path), classes, size), return_counts=True)
        counts = dict(zip(*(values.tolist() for values in found), strict=True))
        shown.update(counts.keys())
        pixels.update(counts)
    return shown, pixels


def _result(campaign: Campaign, labels: list[Label], shown: dict[str, int]) -> dict[str, Any]:
    pool = campaigns.pool(campaign).count()
    passes = planning.image_passes(campaign.recipe, labels=len(labels), pool=pool)
    images = Counter(campaign.project.images.filter(kept_out="").values_list("split", flat=True))
    kept_out = campaign.project.images.exclude(kept_out="").count()
    notes = [f"No label shows {name!r} yet: no model can find it." for name, count in shown.items() if not count]
    notes += [f"{kept_out} images are kept out: their scenes meet another split."] if kept_out else []
    return {
        "labels": len(labels),
        "labels_per_class": shown,
        "pool": pool,
        "image_passes": passes,
        "images": dict(images),
        "notes": notes,
        "summary": f"{len(labels)} labelled training images, {pool} without a label; "
        f"training will take {planning.in_words(passes)}",
    }
