"""Decide which images people are asked about next, and say why."""

import numpy as np
from django.db.models import QuerySet
from numpy.random import Generator

from catalog import files
from catalog.models import Image
from ml import acquisition, facts
from ml.candidates import Ask, Candidate, Pick, expected_minutes
from rounds import campaigns, transitions
from rounds.models import Acquisition, Prediction, Purpose, Stage, StageFile

AT_RANDOM = {"random", "random_scenes"}  # no model is asked: these images stand for the rest


def run(stage: Stage) -> None:
    """Leave an Acquisition for each chosen image, the most useful first."""
    campaign = stage.round.campaign
    # Campaigns of before their recipe named one meant this one.
    strategy = stage.settings.get("strategy", "entropy")
    rng = np.random.default_rng([campaign.seed, stage.round.number])
    predictions = {} if strategy in AT_RANDOM else latest_predictions(stage)
    picks = (
        at_random(stage, strategy, rng) if strategy in AT_RANDOM
        else acquisition.choose(strategy, candidates(stage, predictions), asked(stage), rng)
    )  # fmt: skip
    purpose = Purpose.RANDOM if strategy in AT_RANDOM else Purpose.CHOSEN
    rows = [
        Acquisition(
            campaign=campaign, stage=stage, image_id=int(pick.id), purpose=purpose, rank=rank,
            reason=pick.reason, prediction=predictions.get(int(pick.id)),
        )
        for rank, pick in enumerate(picks)
    ]  # fmt: skip
    result = {"summary": f"{len(rows)} images to ask people about", "count": len(rows)}
    transitions.finish(stage, lambda: _write(rows), result)


def asked(stage: Stage) -> Ask:
    """What is wanted of the batch: `count` images, at most `minutes` expected ones where the recipe says so."""
    campaign = stage.round.campaign
    return Ask(
        images=stage.settings["count"],
        minutes=stage.settings.get("minutes"),
        power=acquisition.power(stage.round.number - 1, campaign.max_rounds - 1),  # the last round asks nobody
        classes=tuple(campaign.project.class_names()),
    )


def at_random(stage: Stage, strategy: str, rng: Generator) -> list[Pick]:
    """A random sample from each split in proportion to its scenes; mixed, so that place tells nothing."""
    by_split: dict[str, list[Candidate]] = {}
    for image in unasked(stage, campaigns.askable(stage.round.campaign)).order_by("pk"):
        by_split.setdefault(image.split, []).append(Candidate(id=str(image.pk), scene=image.scene_id))
    counts = in_proportion(
        {split: len({one.scene for one in found}) for split, found in by_split.items()}, stage.settings["count"]
    )  # fmt: skip
    picks = [
        pick for split, count in counts.items()
        for pick in acquisition.choose(strategy, by_split[split], Ask(images=count), rng)
    ]  # fmt: skip
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


def candidates(stage: Stage, predictions: dict[int, Prediction]) -> list[Candidate]:
    """The predictions as `ml.candidates` has them, with what their stages said of them beside the rows.

    Expected minutes only where the recipe limits them: they change the order.
    """
    predicted_by = {one.stage_id for one in predictions.values()}
    said = {
        one.stage_id: facts.read(files.absolute(one.path))
        for one in StageFile.objects.filter(stage__in=predicted_by, name=facts.FACTS)
    }  # fmt: skip
    minutes = minutes_of(stage, predictions) if "minutes" in stage.settings else [1.0] * len(predictions)
    return [
        facts.candidate(
            str(one.image_id), one.image.scene_id, one, said.get(one.stage_id, {}).get(str(one.image_id), {}),
            minutes=each,
        )
        for one, each in zip(predictions.values(), minutes, strict=True)
    ]  # fmt: skip


def minutes_of(stage: Stage, predictions: dict[int, Prediction]) -> list[float]:
    """What answers will take, from how long this campaign's took on images that were predicted before."""
    answered = stage.round.campaign.acquisitions.filter(prediction__isnull=False, label__seconds__gt=0)
    known = [
        (sum(one.prediction.class_pixels[1:]), one.label.seconds)
        for one in answered.select_related("prediction", "label") if one.prediction and one.label and one.label.seconds
    ]  # fmt: skip
    return expected_minutes([sum(one.class_pixels[1:]) for one in predictions.values()], known)


def _write(rows: list[Acquisition]) -> None:
    Acquisition.objects.bulk_create(rows)
