"""What the pages tabulate: rows read from prefetched models, each with its words and shares worked out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count, Prefetch, Q, QuerySet

from catalog.models import DefectClass, Split
from console.steps import state_of
from console.words import count, over
from ml.selection import looks_at_pool
from rounds.models import (
    Acquisition,
    Evaluation,
    ModelVersion,
    PseudoLabel,
    Purpose,
    Round,
    Snapshot,
    Stage,
    Status,
)

SHOWN_SPLITS = (Split.TEST, Split.VAL)  # in this order
BACKGROUND = "#8a8f98"


@dataclass(frozen=True)
class Answers:
    """What became of the images a round asked about."""

    asked: int
    answered: int
    skipped: int


@dataclass(frozen=True)
class StageRow:
    """A stage with how far it is (percent), how long it took (seconds), what it came to, and its loss curve."""

    stage: Stage
    percent: int | None
    seconds: float | None
    summary: str
    curve: list[list[float]]


@dataclass(frozen=True)
class ModelRow:
    """A trained model with what it saw and how it did on the splits, in the order of SHOWN_SPLITS.

    pool: it was shown images without label and pseudo-label as well.
    """

    model: ModelVersion
    name: str
    labelled: int | None
    pseudo: int | None
    evaluations: tuple[Evaluation | None, ...]
    distilled: bool = False
    pool: bool = False

    def miou(self, split: str) -> float | None:
        one = self.evaluations[SHOWN_SPLITS.index(Split(split))]
        return one.miou if one else None


@dataclass(frozen=True)
class RoundRow:
    """A round with its models and what it asked people, in words."""

    round: Round
    state: Status
    models: tuple[ModelRow, ...]
    pseudo_labels: int
    asked: str


@dataclass(frozen=True)
class ClassRow:
    """One class over the splits that were evaluated."""

    name: str
    colour: str
    iou: tuple[float | None, ...]


@dataclass(frozen=True)
class ConfusionRow:
    """The true pixels of one class: how many, and the share of them predicted as each class."""

    name: str
    pixels: int
    shares: tuple[float | None, ...]


def with_results(prefix: str = "") -> tuple["Prefetch[str] | str", ...]:
    """What has to be prefetched of stages for the rows below."""
    snapshots = Snapshot.objects.defer("items")  # an entry for each image, and no page shows them
    return Prefetch(f"{prefix}snapshot", snapshots), f"{prefix}model__evaluations"


def answers(asked: QuerySet[Acquisition]) -> Answers:
    """How many of these acquisitions are answered, and how many were skipped."""
    counts = asked.aggregate(
        asked=Count("pk"), answered=Count("label"), skipped=Count("pk", filter=Q(skipped_at__isnull=False))
    )
    return Answers(**counts)


def stage_row(stage: Stage, asked: Answers) -> StageRow:
    """`asked` is what the round asked people: the bar of a stage that waits for them."""
    step, steps = stage.progress.get("step", 0), stage.progress.get("steps", 0)
    if stage.status == Status.WAITING:
        step, steps = asked.answered + asked.skipped, asked.asked
    return StageRow(
        stage=stage,
        percent=min(100, 100 * step // steps) if steps else None,
        seconds=_seconds(stage),
        summary=_summary(stage) if stage.status == Status.DONE else "",
        curve=stage.result.get("curve") or stage.progress.get("curve") or [],
    )


def model_rows(stages: Iterable[Stage]) -> tuple[ModelRow, ...]:
    """The models that these stages trained, in their order."""
    return tuple(_model_row(stage) for stage in stages if hasattr(stage, "model"))


def round_rows(rounds: Sequence[Round]) -> list[RoundRow]:
    """One row a round, its stages prefetched with their results; two queries for all of them."""
    ids = [one.pk for one in rounds]
    accepted = dict(
        PseudoLabel.objects.filter(stage__round__in=ids)
        .values_list("stage__round")
        .annotate(Count("image", distinct=True))
    )
    asked: dict[int, list[str]] = {}
    purposes = Acquisition.objects.filter(stage__round__in=ids).values_list("stage__round", "purpose")
    for round_id, purpose, number in purposes.annotate(Count("pk")).order_by("purpose"):
        asked.setdefault(round_id, []).append(f"{number} ({Purpose(purpose).label})")
    return [
        RoundRow(
            round=one,
            state=state_of(one.stages.all()),
            models=model_rows(one.stages.all()),
            pseudo_labels=accepted.get(one.pk, 0),
            asked=", ".join(asked.get(one.pk, [])),
        )
        for one in rounds
    ]


def measured_over(rows: Iterable[ModelRow]) -> str:
    """What the figures of these models were taken over, once for all of them."""
    evaluations = [one for row in rows for one in row.evaluations if one]
    return "; ".join(dict.fromkeys(over(one.split, one.images) for one in evaluations))


def class_rows(classes: Sequence[DefectClass], evaluations: Sequence[Evaluation]) -> list[ClassRow]:
    """IoU of background and every class, one column an evaluation."""
    named = [("background", BACKGROUND), *((one.name, one.colour) for one in classes)]
    return [
        ClassRow(name, colour, tuple(one.iou[at] for one in evaluations)) for at, (name, colour) in enumerate(named)
    ]


def confusion_rows(names: Sequence[str], evaluation: Evaluation) -> list[ConfusionRow]:
    """The confusion matrix with each row as shares of its true pixels; None where there are none."""
    return [
        ConfusionRow(name, sum(row), tuple(cell / sum(row) if sum(row) else None for cell in row))
        for name, row in zip(names, evaluation.confusion, strict=True)
    ]


def in_order(evaluations: Iterable[Evaluation]) -> tuple[Evaluation | None, ...]:
    """One evaluation, or None, for each of SHOWN_SPLITS."""
    found = {one.split: one for one in evaluations}
    return tuple(found.get(split) for split in SHOWN_SPLITS)


def _model_row(stage: Stage) -> ModelRow:
    seen = getattr(stage, "snapshot", None)
    return ModelRow(
        model=stage.model,
        name=stage.name,
        labelled=seen.labelled if seen else None,
        pseudo=seen.pseudo if seen else None,
        evaluations=in_order(stage.model.evaluations.all()),
        distilled=stage.kind == "distil",
        pool=looks_at_pool(stage.kind, stage.settings),
    )


def _seconds(stage: Stage) -> float | None:
    if stage.status != Status.DONE or not stage.started_at or not stage.finished_at:
        return None
    return (stage.finished_at - stage.started_at).total_seconds()


def _summary(stage: Stage) -> str:
    """What the stage said of itself; a stage of people left counts only."""
    if "answered" in stage.result:
        return f"{stage.result['answered']} of {count(stage.result['asked'], 'image')} answered"
    return str(stage.result.get("summary", ""))
