"""Confusion counts of checkpoints on samples with truth."""

from pathlib import Path

import numpy as np

from ml import metrics
from ml.device import choose
from ml.files import written_whole
from ml.inference import load_models, pictures, viewer
from ml.progress import Pace, Say
from ml.spec import EvaluateResult, EvaluateSpec, Progress, SpecError

PER_IMAGE = "confusions.npz"


def evaluate(spec: EvaluateSpec, folder: Path, *, say: Say) -> EvaluateResult:
    """Whole-set figures of each checkpoint, all in one pass over the images.

    `confusions.npz` is left in `folder`: `ids` (N,), and per checkpoint, named by its place "0", "1", ... in the spec,
    counts (N, K, K) int64 in the order of the samples.

    Raises:
        SpecError: the spec cannot be run, or no pixel of the truth counts.
    """
    compute = choose(spec.threads, precision=spec.precision)
    models, channels = load_models(spec, folder, compute)
    view = viewer(spec, compute)
    classes = len(spec.classes) + 1
    counts = np.zeros((len(models), len(spec.samples), classes, classes), dtype=np.int64)
    pace = Pace(len(spec.samples))
    done = 0
    for batch in pictures(spec, folder, channels=channels, masks=True):
        truth = batch.masks.numpy()
        for which, model in enumerate(models):
            found = view(model, batch.images)
            predicted = found.argmax(dim=1).cpu().numpy().astype(np.uint8)
            for n, position in enumerate(batch.positions):
                counts[which, position] = metrics.confusion(truth[n], predicted[n], classes)
        done += len(batch.positions)
        if pace.due(done):
            say(Progress(step=done, steps=len(spec.samples), eta_seconds=pace.eta(done)))
    if not counts.any():
        raise SpecError("samples: expected pixels that count, got masks of 255 (ignore) only; label more of them")
    _write_counts(folder / PER_IMAGE, counts, [sample.id for sample in spec.samples])
    return EvaluateResult(
        figures=tuple(
            metrics.figures(name, of_one.sum(axis=0)) for name, of_one in zip(spec.checkpoints, counts, strict=True)
        ),
        images=len(spec.samples),
        per_image=PER_IMAGE,
        seconds=pace.seconds(),
    )


def _write_counts(path: Path, counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]], ids: list[str]) -> None:
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, ids=np.array(ids), **{str(which): one for which, one in enumerate(counts)})
