"""What a select stage judged: the predictions before it, the score it ranked them by, and what became of each."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Exists, F, FloatField, IntegerField, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from catalog.browsing import NO_DEFECT
from catalog.models import Project
from ml.candidates import SHOWN
from ml.selection import BY
from rounds.models import Prediction, PseudoLabel, Stage

# The scores by their names; as ml.selection.trust reads them.
SCORES: dict[str, Combinable] = {
    BY: Coalesce("reliability", "confidence"), "stability": F("stability"), "confidence": F("confidence"),
}  # fmt: skip
_TEXT = re.compile(r"(accepted|refused)-(\d{1,9})")


@dataclass(frozen=True)
class Verdict:
    """What a select stage accepted, or what it refused, of what another one predicted. As text "accepted-12"."""

    stage: Stage
    predicted: Stage
    accepted: bool

    def __str__(self) -> str:
        return f"{self.word}-{self.stage.pk}"

    def opposite(self) -> "Verdict":
        return replace(self, accepted=not self.accepted)

    @property
    def word(self) -> str:
        return "accepted" if self.accepted else "refused"


def of_text(text: str, project: Project) -> Verdict | None:
    """The verdict so named in this project; None where there is none."""
    told = _TEXT.fullmatch(text)
    stages = Stage.objects.select_related("round__campaign")
    stage = told and stages.filter(pk=told[2], kind="select", round__campaign__project=project).first()
    predicted = stage and judged_by(stage, stage.round.stages.all())
    return Verdict(stage, predicted, told[1] == "accepted") if told and stage and predicted else None


def judged_by(stage: Stage, stages: Collection[Stage]) -> Stage | None:
    """The stage of the same round whose predictions it judges: the latest before it."""
    before = [one for one in stages if one.kind == "predict" and one.position < stage.position]
    return max(before, key=lambda one: one.position, default=None)


def judged(stage: Stage, predicted: Stage) -> "QuerySet[Any]":
    """The predictions with `score`, up = more trustworthy, and whether they were `accepted`."""
    accepted = PseudoLabel.objects.filter(stage=stage, prediction=OuterRef("pk"))
    score = SCORES[stage.settings.get("by", BY)]
    return predicted.predictions.annotate(score=score, accepted=Exists(accepted)).filter(score__isnull=False)


def of(verdict: Verdict) -> "QuerySet[Any]":
    """The predictions of this verdict."""
    return judged(verdict.stage, verdict.predicted).filter(accepted=verdict.accepted)


def showing(predictions: QuerySet[Prediction], index: int, classes: Collection[int]) -> QuerySet[Prediction]:
    """Those that show a class, or none of `classes`: by more than stray pixels, as ml.candidates.shown has it."""
    stray = Cast(F("image__width") * F("image__height"), FloatField()) * SHOWN
    if index == NO_DEFECT:
        return predictions.annotate(stray=stray, **_pixels(classes)).filter(
            *(Q(**{f"of_{one}__lte": F("stray")}) for one in classes)
        )
    return predictions.annotate(stray=stray, **_pixels([index])).filter(**{f"of_{index}__gt": F("stray")})


def _pixels(classes: Collection[int]) -> dict[str, Combinable]:
    # A class that came after the prediction has no entry in it.
    return {f"of_{one}": Coalesce(Cast(KT(f"class_pixels__{one}"), IntegerField()), 0) for one in classes}
