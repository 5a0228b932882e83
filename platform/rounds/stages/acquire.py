"""Decide which images people are asked about next, and say why."""

import numpy as np
from django.db.models import QuerySet
from numpy.random import Generator

from catalog.models import Image
from ml.acquisition import ACQUISITION, Candidate, Pick
from rounds import campaigns, transitions
from rounds.models import Acquisition, Prediction, Purpose, Stage


def run(stage: Stage) -> None:
    """Leave an Acquisition for each chosen image, the most useful first."""
    campaign = stage.round.campaign
    strategy = stage.settings.get("strategy", "uncertain")
    rng = np.random.default_rng([campaign.seed, stage.round.number])
    predictions = {} if strategy == "random" else latest_predictions(stage)
    picks = (
        at_random(stage, rng) if strategy == "random"
        else ACQUISITION[strategy](candidates(predictions), stage.settings["count"], rng)
    )  # fmt: skip
    rows = [
        Acquisition(
            campaign=campaign, stage=stage, image_id=int(pick.id), purpose=Purpose(strategy), rank=rank,
            reason=pick.reason, prediction=predictions.get(int(pick.id)),
        )
        for rank, pick in enumerate(picks)
    ]  # fmt: skip
    result = {"summary": f"{len(rows)} images to ask people about", "count": len(rows)}
    transitions.finish(stage, lambda: _write(rows), result)


def at_random(stage: Stage, rng: Generator) -> list[Pick]:
    """A random sample over scenes, from each split in proportion to its scenes; mixed, so that place tells nothing."""
    by_split: dict[str, list[Candidate]] = {}
    for image in unasked(stage, campaigns.askable(stage.round.campaign)).order_by("pk"):
        by_split.setdefault(image.split, []).append(Candidate(id=str(image.pk), scene=image.scene_id))
    counts = in_proportion(
        {split: len({one.scene for one in found}) for split, found in by_split.items()}, stage.settings["count"]
    )  # fmt: skip
    picks = [pick for split, count in counts.items() for pick in ACQUISITION["random"](by_split[split], count, rng)]
    return [picks[index] for index in rng.permutation(len(picks))]


def in_proportion(sizes: dict[str, int], count: int) -> dict[str, int]:
    """How many of `count` fall to each part: one at least, and then to whichever is furthest below its share."""
    total = sum(sizes.values())
    count = min(count, total)
    largest_first = sorted(sizes, key=lambda part: (-sizes[part], part))
    counts = dict.fromkeys(largest_first[:count], 1)
    for _ in range(count - len(counts)):
        counts[max(counts, key=lambda part: count * sizes[part] / total - counts[part])] += 1
    return counts


def latest_predictions(stage: Stage) -> dict[int, Prediction]:
    """The round's last prediction of each image that people may be asked about."""
    images = unasked(stage, campaigns.pool(stage.round.campaign))
    found = Prediction.objects.filter(stage__round=stage.round_id, image__in=images).select_related("image")
    latest = found.order_by("image_id", "-stage__position").distinct("image_id")
    return {one.image_id: one for one in latest}


def unasked(stage: Stage, images: QuerySet[Image]) -> QuerySet[Image]:
    """Without those that have a label, or that this campaign has asked about."""
    campaign = stage.round.campaign
    return images.exclude(pk__in=campaign.labels().values("image")).exclude(acquisitions__campaign=campaign)


def candidates(predictions: dict[int, Prediction]) -> list[Candidate]:
    """The predictions as `ml.acquisition` knows them."""
    return [
        Candidate(
            id=str(one.image_id), scene=one.image.scene_id, uncertainty=one.uncertainty,
            class_pixels=tuple(one.class_pixels),
        )
        for one in predictions.values()
    ]  # fmt: skip


def _write(rows: list[Acquisition]) -> None:
    Acquisition.objects.bulk_create(rows)
