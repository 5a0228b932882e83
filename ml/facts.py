"""What a prediction says of each image for the choice of questions: `facts.npz`, beside the masks (numpy only).

`ids` (N,) str; float16: `margin` (N,), `class_uncertainty` (N, K-1), `embedding` (N, 64), and `disagreement` (N,)
where a second model was asked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.candidates import Candidate
from ml.files import written_whole

FACTS = "facts.npz"
IN_FACTS = ("margin", "class_uncertainty", "embedding", "disagreement")


class Scored(Protocol):
    """A prediction as the platform or a result keeps it."""

    @property
    def uncertainty(self) -> float: ...

    @property
    def class_pixels(self) -> Sequence[int]: ...


def write(path: Path, ids: Sequence[str], facts: Mapping[str, NDArray[np.float16]]) -> None:
    """Leave the facts, whole or not at all."""
    columns: dict[str, Any] = {"ids": np.array(ids), **facts}
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)


def read(path: Path) -> dict[str, dict[str, Any]]:
    """By id, what a Candidate has beside what its row says."""
    with np.load(path) as held:
        columns = {name: held[name] for name in IN_FACTS if name in held}
        ids = held["ids"].tolist()
    return {
        one: {name: _plain(column[row].tolist()) for name, column in columns.items()} for row, one in enumerate(ids)
    }


def candidate(name: str, scene: Any, one: Scored, facts: Mapping[str, Any], *, minutes: float = 1.0) -> Candidate:
    """A predicted image as ml.candidates has it."""
    return Candidate(
        id=name, scene=scene, uncertainty=one.uncertainty, class_pixels=tuple(one.class_pixels), minutes=minutes,
        **facts,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
