"""Data sets on the disk, small enough for every format and mean enough to show what one cannot keep."""

import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from annotation.formats import Drawn, Provenance, detect, write_whole, writer
from annotation.masks import ClassInfo

CLASSES = (ClassInfo("scratch", "#102030"), ClassInfo('dent "deep"', "#aabbcc"), ClassInfo("Riß", "#00ff00"))
SIZE = (31, 23)  # width, height: odd, and not square


@pytest.fixture
def masks():
    """By image: everything at once, no defect, and None where nobody looked."""
    full = np.zeros(SIZE[::-1], np.uint8)
    full[2:12, 3:20] = 1
    full[4:9, 6:15] = 2  # another class in a hole
    full[14:22, 1:12] = 3
    full[16:19, 4:8] = 3
    full[20, 20], full[21, 21], full[22, 22] = 1, 1, 1  # touch at corners only
    full[0, 30] = 2
    return {"a.png": full, "line 1/b.png": np.zeros(SIZE[::-1], np.uint8), "line 1/ü.png": None}


@pytest.fixture
def drawn(tmp_path, masks):
    """The images of `masks`, about to be written."""
    rng = np.random.default_rng(0)
    for name in masks:
        path = tmp_path / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, SIZE[::-1], np.uint8)).save(path)
    note = Provenance(kind="label", by="anna", origins={"manual": 3})
    return [
        Drawn(
            PurePosixPath(name),
            tmp_path / "photographs" / name,
            SIZE,
            mask,
            "train" if name == "a.png" else "val",
            note,
        )
        for name, mask in masks.items()
    ]


@pytest.fixture
def written(tmp_path, drawn):
    """Write what is drawn in a format; the folder, and what was lost."""

    def written(name, images=None):
        lost = write_whole(tmp_path / name, writer(name), CLASSES, drawn if images is None else images)
        return tmp_path / name, lost

    return written


@pytest.fixture
def read():
    """By the last part of their names: the masks of a folder."""

    def read(folder, form=None):
        dataset = form or detect(folder)
        return {
            one.name.rpartition("/")[2]: one.mask(len(dataset.classes), SIZE) if one.mask else None
            for one in dataset.images
        }

    return read


@pytest.fixture
def photograph():
    """Save a picture, of SIZE unless another is given."""

    def photograph(path, size=SIZE, mode="L"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(path)
        return path

    return photograph


@pytest.fixture
def write_json():
    def write_json(path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write_json
