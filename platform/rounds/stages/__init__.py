"""One file a kind of stage. Each reads earlier rows, inserts its own through `transitions`, and calls no other."""

from collections.abc import Callable

from rounds.models import Stage
from rounds.stages import acquire, annotate, distil, evaluate, predict, prepare, select, train

RUNNERS: dict[str, Callable[[Stage], None]] = {
    "prepare": prepare.run,
    "train": train.run,
    "distil": distil.run,
    "predict": predict.run,
    "select": select.run,
    "evaluate": evaluate.run,
    "acquire": acquire.run,
    "annotate": annotate.run,
}
