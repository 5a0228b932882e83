"""The scripted annotator of benchmarks and demonstrations: it knows the given truth and answers as a browser would.

It logs in at the address people use, takes the next task, compares what is drawn with the truth, and submits: regions
that are right stay as they are, wrong ones are redrawn, missing ones drawn. An image without a given truth is skipped.
"""

import logging
from typing import Any

import numpy as np
from django.conf import settings

from annotation import brush, task_json
from annotation.browser import Browser
from annotation.errors import LabelStudioError
from annotation.masks import Mask, read_index_mask
from catalog import files
from catalog.locks import Work, one_at_a_time
from catalog.models import Image, ReferenceMask
from labelling import outbox, people
from labelling.models import LabellingProject, Task
from rounds.models import Campaign

LOOKING, DRAWING, CORRECTING = 3.0, 12.0, 7.0  # seconds: an image, a region from nothing, a region from a prediction

log = logging.getLogger(__name__)

Json = dict[str, Any]


def has_work(campaign: Campaign) -> bool:
    """Whether a campaign has a script, and that has something to answer."""
    return campaign.scripted and Task.objects.filter(
        project__campaign=campaign, deleted_at=None, acquisition__label=None, acquisition__skipped_at=None
    ).exists()  # fmt: skip


def answer(campaign: Campaign) -> int:
    """How many tasks were answered: all that the queue gives. Dying half way loses nothing, the rest waits there."""
    with one_at_a_time(Work.ANSWER, campaign.pk) as mine:
        if not mine:
            return 0
        project = campaign.labelling_project
        try:
            return _empty_the_queue(campaign, project)
        except (LabelStudioError, people.NoLogin) as error:
            log.warning("the script of %s stopped: %s", campaign, error)
            LabellingProject.objects.filter(pk=project.pk).update(error=f"The scripted annotator stopped: {error}")
            return 0


def corrected(drawn: list[Json], truth: Mask, classes: list[str]) -> tuple[list[Json], float]:
    """What a person who knows the truth would submit, and the seconds they would have needed.

    Args:
        drawn: Regions of the prediction, as the editor shows them.
        truth: Index mask (H, W).
        classes: Names, in the order of their indices 1, 2, ...
    """
    regions, seconds = [], LOOKING
    by_class = {region["value"]["brushlabels"][0]: region for region in drawn}
    for wanted in task_json.regions(truth, classes, origin="manual"):
        region = by_class.get(wanted["value"]["brushlabels"][0])
        if region is None:
            regions.append(wanted)
            seconds += DRAWING
        elif _covers_the_same(region, wanted, truth):
            regions.append(region | {"origin": "prediction"})
        else:
            regions.append(region | {"origin": "prediction-changed", "value": wanted["value"]})
            seconds += CORRECTING
    return regions, seconds


def _empty_the_queue(campaign: Campaign, project: LabellingProject) -> int:
    people.script_account(campaign)
    queue, classes = outbox.number(project), campaign.project.class_names()
    answered = 0
    with Browser(settings.LABEL_STUDIO_PUBLIC_URL, *people.script_login(campaign)) as browser:
        while task := browser.next_task(queue):
            _answer_one(browser, task, campaign, classes)
            answered += 1
    return answered


def _answer_one(browser: Browser, task: Json, campaign: Campaign, classes: list[str]) -> None:
    image = Image.objects.get(acquisitions__campaign=campaign, acquisitions=task["data"]["acquisition"])
    reference = ReferenceMask.objects.filter(image=image).first()
    if reference is None:
        browser.skip(task, lead_time=LOOKING)
        return
    truth = read_index_mask(files.absolute(reference.path), len(classes), (image.width, image.height))
    prediction: Json = next(iter(task["predictions"]), {"id": None, "result": []})
    regions, seconds = corrected(prediction["result"], truth, classes)
    browser.submit(task, regions, lead_time=seconds, parent_prediction=prediction["id"])


def _covers_the_same(region: Json, wanted: Json, truth: Mask) -> bool:
    """Compared pixel by pixel: two codes of one mask may differ in padding."""
    height, width = truth.shape
    drawn, right = (brush.decode(one["value"]["rle"], (width, height)) for one in (region, wanted))
    return np.array_equal(drawn, right)
