import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ml import synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("surfaces")
    synthetic.generate(path, images=80, size=96, seed=3)
    return path


def _pixels(path):
    return np.array(Image.open(path))


def _splits(folder):
    return json.loads((folder / "splits.json").read_text())


def test_every_image_has_a_mask_of_its_size_with_known_values(folder):
    for path in (folder / "images").iterdir():
        with Image.open(path) as image, Image.open(folder / "masks" / path.name) as mask:
            assert (image.mode, image.size, mask.size) == ("L", (96, 96), (96, 96))
            assert set(np.unique(mask)) <= {0, 1, 2, 3}


def test_the_splits_hold_every_image_once_in_the_promised_shares(folder):
    splits = _splits(folder)
    names = [name for split in splits.values() for name in split]

    assert sorted(names) == sorted(f"images/{path.name}" for path in (folder / "images").iterdir())
    assert len(set(names)) == 80
    shares = {split: len(held) / 80 for split, held in splits.items()}
    assert shares == pytest.approx(synthetic.SHARES, abs=0.07)


def test_a_quarter_of_the_images_are_turned_copies_and_none_crosses_a_split(folder):
    shown = {}
    copies = 0
    for split, names in _splits(folder).items():
        for name in names:
            grey = _pixels(folder / name).astype(np.float64)
            of = next((there for there, other in shown.values() if _shows_the_same(grey, other)), None)
            copies += of is not None
            assert of in {None, split}
            shown[name] = (split, grey)

    assert copies == 20


def _shows_the_same(grey, other):
    return any(abs(np.rot90(grey, turns) - other).mean() < 4 for turns in range(4))


def test_about_an_eighth_has_no_defect_and_some_images_have_several(folder):
    kinds = Counter(len(set(np.unique(_pixels(path))) - {0}) for path in (folder / "masks").iterdir())

    assert 0.08 <= kinds[0] / 80 <= 0.25
    assert kinds[2] + kinds[3] >= 10


def test_every_split_holds_every_class(folder):
    for names in _splits(folder).values():
        values = {value for name in names for value in np.unique(_pixels(folder / name.replace("images", "masks")))}
        assert values == {0, 1, 2, 3}


def test_the_same_seed_writes_the_same_pixels_and_another_seed_others(folder, tmp_path):
    synthetic.generate(tmp_path / "again", images=80, size=96, seed=3)
    synthetic.generate(tmp_path / "other", images=80, size=96, seed=4)

    for kind in ("images", "masks"):
        again, other = (_pixels(tmp_path / run / kind / "0001.png") for run in ("again", "other"))
        assert np.array_equal(_pixels(folder / kind / "0001.png"), again)
        if kind == "images":
            assert not np.array_equal(again, other)


def test_defects_differ_from_the_surface_around_them(folder):
    """Faint is allowed, invisible is not: on average a defect stands out by more than the grain does."""
    contrast = []
    for path in (folder / "images").iterdir():
        grey, mask = _pixels(path).astype(np.float64), _pixels(folder / "masks" / path.name)
        contrast += [abs(grey[mask == k].mean() - grey[mask == 0].mean()) for k in np.unique(mask) if k]

    assert np.median(contrast) > 8


def test_impossible_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 4 images"):
        synthetic.generate(tmp_path, images=3, size=96, seed=0)
