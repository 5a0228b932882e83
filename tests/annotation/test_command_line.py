"""`python -m annotation`, as it is typed."""

import shutil

import numpy as np
import pytest
from PIL import Image

from annotation.__main__ import main
from annotation.formats import detect
from annotation.masks import write_index_png


@pytest.fixture
def source(tmp_path):
    """Images with index masks, whose classes nothing names; the mask of b holds a value too many."""
    for name, value in (("a", 2), ("b", 3)):
        for folder in ("images", "masks"):
            (tmp_path / "source" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 6)).save(tmp_path / f"source/images/{name}.png")
        write_index_png(tmp_path / f"source/masks/{name}.png", np.full((6, 8), value, np.uint8))
    return tmp_path / "source"


def test_a_zip_is_converted_and_what_was_seen_and_refused_is_told(tmp_path, source, capsys):
    shutil.make_archive(str(tmp_path / "packed"), "zip", source)

    status = main(
        ["convert", str(tmp_path / "packed.zip"), str(tmp_path / "out"), "--to", "coco", "--classes", "pit, dent"]
    )

    (one,) = detect(tmp_path / "out").images
    assert (status, int(one.mask(2, (8, 6)).min())) == (0, 2)
    said = capsys.readouterr().err
    assert "read as canonical: images/ with masks/ or classes.json; 2 images" in said
    assert "refused images/b.png: mask b.png holds 3; expected 0..2" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "packed.zip", "source"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["SOURCE", "out"], "Nothing names the classes"),
        (["SOURCE", "source"], "is there already"),
        (["nowhere", "out"], "does not exist"),
        (["SOURCE", "out", "--from", "coco"], "is not of the format coco: expected annotations"),
    ],
)
def test_what_cannot_be_ends_with_a_sentence_and_leaves_nothing(tmp_path, source, capsys, arguments, complaint):
    places = {"SOURCE": str(source), **{name: str(tmp_path / name) for name in ("out", "source", "nowhere")}}

    status = main(["convert", *(places.get(one, one) for one in arguments)])

    assert status == 1
    assert complaint in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
