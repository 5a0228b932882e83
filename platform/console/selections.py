"""What a round's page tells of its select stages: the scores that were judged, the cut, the classes, some pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np
from django.db.models import TextField
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils.safestring import SafeString
from numpy.typing import NDArray

from catalog.browsing import NO_DEFECT
from catalog.models import DefectClass
from console import histograms, masks, verdicts
from console.dataset import Filters
from console.histograms import Bin, Cut
from console.masks import Tile
from console.verdicts import Verdict
from console.words import count
from ml.candidates import classes_shown
from ml.selection import BY, counted_for
from rounds.models import Stage, Status

SHOWN = 8  # pictures in a row, at laptop width
MOST_BINS = 50
WIDTHS = (0.005, 0.01, 0.02, 0.05)  # of a bin; the finest that gives no more than MOST_BINS
WORD = {"reliability": "reliable", "stability": "stable", "confidence": "confident"}
ALL = -1  # in place of a class, where one ranking judges all of them


@dataclass(frozen=True)
class ClassShare:
    """Of the images predicted to show a class (or no defect): how many were accepted, and down to which score."""

    name: str
    colour: str
    accepted: int
    refused: int
    cut: float | None
    chart: SafeString
    accepted_address: str
    refused_address: str

    @property
    def images(self) -> int:
        return self.accepted + self.refused

    @property
    def share(self) -> float | None:
        return self.accepted / self.images if self.images else None


@dataclass(frozen=True)
class Gallery:
    """A row of pictures, of one end of the ranking or of the cut; `address`: of all that belong to it."""

    title: str
    tiles: list[Tile]
    address: str = ""
    all_words: str = ""


@dataclass(frozen=True)
class Selection:
    """A select stage with what it judged. Where it judged nothing yet, `said` alone says why."""

    stage: Stage
    said: str
    rule: str = ""
    score: str = BY
    accepted: int = 0
    refused: int = 0
    chart: SafeString = field(default_factory=SafeString)
    bins: Sequence[Bin] = ()
    classes: Sequence[ClassShare] = ()
    per_class: bool = False
    galleries: Sequence[Gallery] = ()


@dataclass(frozen=True)
class _Judged:
    """The predictions of one stage, N of them, as arrays.

    keys: (N,) int, of predictions.  scores: (N,) float in [0, 1].  accepted: (N,) bool.
    shows: (N, 1 + highest index) bool; column 0: no defect.  group: (N,) int, the ranking each was judged in.
    """

    score: str
    keys: NDArray[np.int64]
    scores: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    shows: NDArray[np.bool_]
    group: NDArray[np.int64]


def selections(stages: Sequence[Stage], classes: Mapping[int, DefectClass]) -> list[Selection]:
    """One for each select stage of a round, in their order: four queries for each that has judged."""
    return [_selection(stage, verdicts.judged_by(stage, stages), classes) for stage in stages if stage.kind == "select"]


def _selection(stage: Stage, predicted: Stage | None, classes: Mapping[int, DefectClass]) -> Selection:
    if predicted is None or stage.status not in {Status.DONE, Status.FAILED}:
        return Selection(stage, _not_yet(stage, predicted))
    judged = _read(stage, predicted, highest=max(classes, default=0))
    if not len(judged.keys):
        return Selection(stage, "There was no mask to judge: no image was left to predict.")
    cuts, edges = _cuts(judged), _edges(judged.scores)
    bins = _bins(judged, edges)
    accepted = int(judged.accepted.sum())
    said = _said(stage, judged, cuts, classes)
    title = f"{judged.score.capitalize()} of {count(len(judged.keys), 'mask')}, by how many were accepted and refused"
    named = [_named_cut(index, cut, judged.score, classes) for index, cut in sorted(cuts.items())]
    return Selection(
        stage=stage,
        said=said,
        rule=next(iter(stage.pseudo_labels.order_by().values_list("rule", flat=True)[:1]), ""),
        score=judged.score,
        accepted=accepted,
        refused=len(judged.keys) - accepted,
        chart=histograms.histogram(bins, named, title=title, told=said, x_label=f"{judged.score} of the mask"),
        bins=bins,
        classes=_shares(Verdict(stage, predicted, accepted=True), judged, cuts, edges, classes),
        per_class=ALL not in judged.group,
        galleries=_galleries(Verdict(stage, predicted, accepted=True), judged, cuts, classes),
    )


def _not_yet(stage: Stage, predicted: Stage | None) -> str:
    if stage.status == Status.CANCELLED:
        return "Cancelled before anything was accepted."
    if predicted is None:
        return "No stage before it predicts masks: there is nothing to judge."
    score = "the score" if stage.settings.get("share", 0) >= 1 else stage.settings.get("by", BY)
    return f"Not judged yet: the masks of “{predicted.name}”, by {score}, once that stage is done."


def _read(stage: Stage, predicted: Stage, *, highest: int) -> _Judged:
    by = str(stage.settings.get("by", BY))
    # Columns as they are, lists as text that is read at once: a conversion for each of ten thousand rows is felt.
    columns = ("pk", "accepted", "reliability", "confidence" if by == BY else by, Cast("class_pixels", TextField()))
    rows = list(verdicts.judged(stage, predicted).values_list(*columns))
    texts = ",".join([row[4] for row in rows])
    shows = classes_shown(json.loads(f"[{texts}]") if rows else np.zeros((0, highest + 1)))
    ranked = by == BY and any(row[2] is not None for row in rows)
    return _Judged(
        score=by if ranked or by != BY else "confidence",
        keys=np.array([row[0] for row in rows], dtype=np.int64),
        scores=np.array([row[2] if ranked and row[2] is not None else row[3] for row in rows], dtype=np.float64),
        accepted=np.array([row[1] for row in rows], dtype=np.bool_),
        # A class that came after the prediction has no column there.
        shows=np.pad(shows, ((0, 0), (0, max(0, highest + 1 - shows.shape[1])))),
        group=counted_for(shows) if stage.settings.get("per_class") else np.full(len(shows), ALL),
    )


def _cuts(judged: _Judged) -> dict[int, float]:
    """The lowest accepted score of each ranking, by class; none where all of a ranking was accepted, or nothing."""
    cuts = {}
    for index in np.unique(judged.group):
        mine = judged.group == index
        accepted = judged.accepted[mine]
        if accepted.any() and not accepted.all():
            cuts[int(index)] = float(judged.scores[mine][accepted].min())
    return cuts


def _edges(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of bins of one round width, from tenth to tenth around the scores."""
    low, high = floor(10 * scores.min()) / 10, ceil(10 * scores.max()) / 10
    if high <= low:
        low = low - 0.1
    width = next((one for one in WIDTHS if (high - low) / one < MOST_BINS + 0.5), 0.1)
    edges: NDArray[np.float64] = np.round(low + width * np.arange(round((high - low) / width) + 1), 4)
    return edges


def _bins(judged: _Judged, edges: NDArray[np.float64], among: NDArray[np.bool_] | None = None) -> list[Bin]:
    """among: (N,) bool, of the predictions that are counted; None: all."""
    counted = np.ones_like(judged.accepted) if among is None else among
    accepted, _ = np.histogram(judged.scores[counted & judged.accepted], edges)
    refused, _ = np.histogram(judged.scores[counted & ~judged.accepted], edges)
    rows = zip(edges[:-1].tolist(), edges[1:].tolist(), accepted.tolist(), refused.tolist(), strict=True)
    return [Bin(*row) for row in rows]


def _shares(
    verdict: Verdict, judged: _Judged, cuts: Mapping[int, float], edges: NDArray[np.float64],
    classes: Mapping[int, DefectClass],
) -> list[ClassShare]:  # fmt: skip
    """A row for each class, the images without a defect last."""
    address = reverse("images", args=[verdict.stage.round.campaign.project_id])
    filters = Filters(verdict=verdict)
    rows = []
    for index in [*sorted(classes), NO_DEFECT]:
        among = judged.shows[:, index]
        cut = cuts.get(index, cuts.get(ALL))
        name = _name(index, classes)
        accepted = int((among & judged.accepted).sum())
        rows.append(ClassShare(
            name=name, colour=classes[index].colour if index in classes else "",
            accepted=accepted, refused=int(among.sum()) - accepted, cut=cut,
            chart=histograms.small_histogram(
                _bins(judged, edges, among), cut, title=f"{judged.score.capitalize()} of the masks with {name}"
            ),
            accepted_address=address + filters.address(shows=str(index)),
            refused_address=address + filters.address(shows=str(index), verdict=verdict.opposite()),
        ))  # fmt: skip
    return rows


def _galleries(
    verdict: Verdict, judged: _Judged, cuts: Mapping[int, float], classes: Mapping[int, DefectClass]
) -> list[Gallery]:
    """Both ends of the ranking and both sides of the cut: where a person sees whether the cut is in the right place."""
    best_first = np.lexsort((judged.keys, -judged.scores))
    accepted, refused = (best_first[judged.accepted[best_first] == wanted] for wanted in (True, False))
    word = WORD[judged.score]
    everything = {
        "accepted": (verdict, f"all {len(accepted):,} accepted"),
        "refused": (verdict.opposite(), f"all {len(refused):,} refused"),
    }
    rows: list[tuple[str, NDArray[np.int64], str]] = []
    if not len(accepted) or not len(refused):
        what = "accepted" if len(accepted) else "refused"
        rows = [
            (f"{what.capitalize()}, the most {word} first", best_first[:SHOWN], what),
            ("The least " + word + " first", best_first[SHOWN:][::-1][:SHOWN], what),
        ]
    else:
        rows = [
            (f"Accepted, the most {word} first", accepted[:SHOWN], "accepted"),
            ("Either side of the cut: the last accepted, the first refused", _at_the_cut(judged, cuts), ""),
            (f"Refused, the least {word} first", refused[::-1][:SHOWN], "refused"),
        ]
    wanted = judged.keys[np.concatenate([some for _, some, _ in rows])].tolist()
    found = verdicts.judged(verdict.stage, verdict.predicted).filter(pk__in=wanted)
    predictions = list(found.select_related("image").defer("image__descriptor"))
    tiles = dict(zip((one.pk for one in predictions), masks.tiles_of(predictions, classes), strict=True))
    page = reverse("images", args=[verdict.stage.round.campaign.project_id])
    galleries = []
    for title, some, of in rows:
        whose, words = everything.get(of, (None, ""))
        address = page + Filters(verdict=whose).address() if whose else ""
        galleries.append(Gallery(title, [tiles[key] for key in judged.keys[some].tolist()], address, words))
    return [one for one in galleries if one.tiles]


def _at_the_cut(judged: _Judged, cuts: Mapping[int, float]) -> NDArray[np.int64]:
    """Half a row of those least above the cut of their ranking, then half a row of those least below; (at most SHOWN,)

    In order of their distance from it, as one goes down through the cut. None where both rows hold everything anyway.
    """
    if max(judged.accepted.sum(), (~judged.accepted).sum()) <= SHOWN:
        return np.zeros(0, dtype=np.int64)
    above = judged.scores - np.array([cuts.get(int(index), np.nan) for index in judged.group])
    down = np.argsort(-above, kind="stable")  # NaN comes last
    down = down[np.isfinite(above[down])]
    accepted, refused = down[judged.accepted[down]], down[~judged.accepted[down]]
    return np.concatenate([accepted[-SHOWN // 2 :], refused[: SHOWN // 2]])


def _said(stage: Stage, judged: _Judged, cuts: Mapping[int, float], classes: Mapping[int, DefectClass]) -> str:
    """The counts and the cut in words."""
    number = len(judged.keys)
    accepted = int(judged.accepted.sum())
    scores = f"{judged.score} {judged.scores.min():.3f} to {judged.scores.max():.3f}"
    if not accepted:
        why = " The stage failed; its reason stands above." if stage.status == Status.FAILED else ""
        return f"None of {count(number, 'mask')} was accepted ({scores}).{why}"
    if accepted == number:
        return f"{count(number, 'mask')}, {scores}; there is no cut."
    counts = f"{accepted:,} of {count(number, 'mask')} accepted, {number - accepted:,} refused"
    if ALL in cuts:
        return f"{counts}. The cut is at {judged.score} {cuts[ALL]:.3f}."
    if not cuts:
        return f"{counts}. Each class was accepted or refused as a whole: there is no cut."
    least, most = min(cuts, key=cuts.__getitem__), max(cuts, key=cuts.__getitem__)
    return (
        f"{counts}. Each class has its own cut, from {judged.score} {cuts[least]:.3f} ({_name(least, classes)}) "
        f"to {cuts[most]:.3f} ({_name(most, classes)})."
    )


def _named_cut(index: int, cut: float, score: str, classes: Mapping[int, DefectClass]) -> Cut:
    if index == ALL:
        return Cut(cut, f"cut: {score} {cut:.3f}")
    return Cut(cut, f"{_name(index, classes)}: cut {cut:.3f}", classes[index].colour if index in classes else "")


def _name(index: int, classes: Mapping[int, DefectClass]) -> str:
    return classes[index].name if index in classes else "no defect"
