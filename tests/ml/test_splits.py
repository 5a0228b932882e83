import json
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from ml import dividing, meetings, metrics, scenes, splits, synthetic
from ml.__main__ import main
from ml.folder import look_into

SHARES = {"train": 0.6, "val": 0.15, "test": 0.25}


def _surfaces(seed=0):
    """Scenes of one to eight images: three common class sets, a defect-free one, and one that only four scenes show."""
    rng = np.random.default_rng(seed)
    sets = [{1}, {2}, {1, 3}, set()]
    kinds = [sets[pick] for pick in rng.integers(0, 4, 200)] + [{4}] * 4
    return [
        splits.Surface(tuple(f"{number}-{copy}" for copy in range(rng.choice([1, 4, 8]))), frozenset(kind))
        for number, kind in enumerate(kinds)
    ]


def _images(surfaces):
    return sum(len(surface.names) for surface in surfaces)


def test_every_scene_lies_whole_in_one_split():
    surfaces = _surfaces()

    dealt = splits.divide(surfaces, SHARES, np.random.default_rng(0))

    assert sorted(one.names for held in dealt.values() for one in held) == sorted(one.names for one in surfaces)


@pytest.mark.parametrize("seed", range(5))
def test_every_split_has_its_share_of_the_images_of_every_class_set(seed):
    surfaces = _surfaces(seed)

    dealt = splits.divide(surfaces, SHARES, np.random.default_rng(seed))

    for split, share in SHARES.items():
        assert _images(dealt[split]) == pytest.approx(share * _images(surfaces), abs=9)
        for kind in {one.classes for one in surfaces} - {frozenset({4})}:
            of_kind = [one for one in surfaces if one.classes == kind]
            held = [one for one in dealt[split] if one.classes == kind]
            assert _images(held) == pytest.approx(share * _images(of_kind), abs=13)


def test_the_same_seed_divides_alike_in_any_order_and_another_seed_otherwise():
    surfaces = _surfaces()

    one, again = (splits.divide(some, SHARES, np.random.default_rng(3)) for some in (surfaces, surfaces[::-1]))
    other = splits.divide(surfaces, SHARES, np.random.default_rng(4))

    assert one == again
    assert one != other


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="add up to 1"):
        splits.divide(_surfaces(), {"train": 0.5, "test": 0.4}, np.random.default_rng(0))


def test_each_fold_holds_other_scenes_and_as_many_images_of_each_class_set():
    surfaces = _surfaces()

    parts = splits.folds(surfaces, 4, np.random.default_rng(0))

    assert Counter(name for part in parts for one in part for name in one.names).most_common(1)[0][1] == 1
    assert [sum(one.classes == {4} for one in part) for part in parts] == [1, 1, 1, 1]
    assert np.ptp([_images(part) for part in parts]) <= 8


def test_label_ratios_are_nested_and_counted_in_scenes():
    surfaces = _surfaces()
    ratios = [Fraction(1, 4), Fraction(1, 16), Fraction(1, 8), Fraction(1, 2)]

    chosen = splits.nested(surfaces, ratios, np.random.default_rng(0))

    assert [len(held) for held in chosen.values()] == [13, 26, 51, 102]
    held = [{one.names for one in chosen[ratio]} for ratio in sorted(ratios)]
    assert held[0] < held[1] < held[2] < held[3]


def test_a_small_ratio_shows_class_sets_in_proportion_and_rare_ones_now_and_then():
    surfaces = _surfaces()
    draws = [
        splits.nested(surfaces, [Fraction(1, 8)], np.random.default_rng(seed))[Fraction(1, 8)] for seed in range(60)
    ]

    for kind in {one.classes for one in surfaces}:
        share = sum(one.classes == kind for one in surfaces) / len(surfaces)
        shown = [sum(one.classes == kind for one in draw) for draw in draws]
        assert np.mean(shown) == pytest.approx(share * len(draws[0]), rel=0.35)
        assert np.ptp(shown) <= 2


def _leaky(tmp_path, *, leaking):
    """A generated set whose copies are spread over train and test, or left out."""
    synthetic.generate(tmp_path, images=60, size=64, seed=1)
    names = sorted(f"images/{path.name}" for path in (tmp_path / "images").iterdir())
    known = dividing.find_scenes(dividing.Folder(tmp_path, tuple(names), {}, ()))
    several = [names for names in known if len(names) > 1]
    train = [names[0] for names in known] if leaking else [names[0] for names in known[::2]]
    test = [name for names in several for name in names[1:]] if leaking else [names[0] for names in known[1::2]]
    (tmp_path / "given.json").write_text(json.dumps({"train": train, "test": test}))
    return len(test)


def test_a_split_that_leaks_is_told_with_the_score_of_a_look_up(tmp_path, capsys):
    count = _leaky(tmp_path, leaking=True)

    assert main(["split", str(tmp_path), "--check", str(tmp_path / "given.json")]) == 0

    told = capsys.readouterr().out
    assert f"test LEAKS: {count} of its {count} images (100.0 %)" in told
    assert "mIoU 100.00 % with background, 100.00 % without" in told, "the generated copies carry turned masks"


def test_a_split_by_scene_is_told_to_share_nothing(tmp_path, capsys):
    _leaky(tmp_path, leaking=False)

    assert main(["split", str(tmp_path), "--check", str(tmp_path / "given.json")]) == 0

    assert "test shares no scene with train" in capsys.readouterr().out


def test_split_writes_a_split_that_leaks_nothing_and_says_its_sizes(tmp_path, capsys):
    synthetic.generate(tmp_path, images=60, size=64, seed=1)
    out = tmp_path / "mine.json"

    assert main(["split", str(tmp_path), "--out", str(out), "--ratios", "1/4", "1/2", "--seed", "5"]) == 0

    made = json.loads(out.read_text())
    assert sorted(name for split in ("train", "val", "test") for name in made[split]) == [
        f"images/{n:04d}.png" for n in range(1, 61)
    ]
    assert set(made["labelled"]["1_4"]) < set(made["labelled"]["1_2"]) < set(made["train"])
    assert f"train {len(made['train'])} images of" in capsys.readouterr().out
    main(["split", str(tmp_path), "--check", str(out)])
    told = capsys.readouterr().out
    assert "LEAKS" not in told
    assert "test shares no scene" in told


def test_split_writes_one_file_per_fold_and_every_image_is_tested_once(tmp_path):
    synthetic.generate(tmp_path, images=60, size=64, seed=1)

    assert main(["split", str(tmp_path), "--out", str(tmp_path / "cv.json"), "--folds", "3"]) == 0

    made = [json.loads((tmp_path / f"cv-fold{number}.json").read_text()) for number in range(3)]
    assert sorted(name for one in made for name in one["test"]) == [f"images/{n:04d}.png" for n in range(1, 61)]
    assert all(not set(one["train"]) & set(one["test"]) for one in made)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "expected --out FILE to write, or --check SPLITS"),
        (["--out", "x.json", "--shares", "1", "1", "1"], "--shares: expected shares that add up to 1"),
        (["--check", "nowhere.json"], "nowhere.json: no such file"),
    ],
)
def test_split_says_what_it_needs(tmp_path, capsys, arguments, sentence):
    synthetic.generate(tmp_path, images=8, size=32, seed=1)

    assert main(["split", str(tmp_path), *arguments]) == 1

    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["split", "statistics"])
def test_a_folder_of_another_format_is_refused_with_the_command_that_converts_it(tmp_path, capsys, verb):
    synthetic.generate(tmp_path / "coco", images=4, size=32, seed=1)
    for name in ("masks", "classes.json"):
        (tmp_path / "coco" / name).rename(tmp_path / name)
    (tmp_path / "coco" / "annotations").mkdir()

    assert main([verb, str(tmp_path / "coco")]) == 1

    told = capsys.readouterr().err
    assert "expected a folder with images/, and masks/ or classes.json; found annotations, images" in told
    assert f"python -m annotation convert {tmp_path / 'coco'} NEW-FOLDER" in told


def test_pictures_taken_a_little_aside_never_lie_on_two_sides_of_a_split(tmp_path):
    """Where nobody says how much has to agree, as much as the server's import asks for."""
    (tmp_path / "images").mkdir()
    for number in range(6):
        surface = synthetic.photograph(synthetic.Shot(number, 0), size=200, seed=11)[0]
        for copy, pixels in (("a", surface), ("b", np.roll(surface, (14, -14), (0, 1)))):
            Image.fromarray(pixels).save(tmp_path / "images" / f"{number}{copy}.png")
    folder = look_into(tmp_path)

    joined, whole = (dividing.find_scenes(folder, **asked) for asked in ({}, {"overlap": meetings.WHOLE}))

    assert sum(len(names) == 2 for names in joined) >= 4
    assert {name[7] for names in joined for name in names if len({one[7] for one in names}) > 1} == set()
    assert max(map(len, whole)) == 1, "the two differ: how much has to agree matters here"


@pytest.mark.shared
def test_the_official_split_of_neu_seg_leaks_and_a_look_up_scores_what_papers_publish(neu_seg):
    train, test = ([n for n, name in enumerate(neu_seg.names) if split in name] for split in ("training", "test"))

    leak = splits.leak(
        "test", train, test, dict(enumerate(neu_seg.labels)), scenes.stack(neu_seg.descriptors), neu_seg.masks, 4
    )

    assert 805 <= leak.shared <= 815, "measured elsewhere: 810 of 840"
    assert metrics.mean_iou(leak.counts, background=True) == pytest.approx(0.8995, abs=0.01)
    assert metrics.mean_iou(leak.counts, background=False) == pytest.approx(0.8716, abs=0.01)


@pytest.mark.shared
def test_a_split_of_neu_seg_by_its_scenes_leaks_nothing(neu_seg):
    surfaces = [splits.Surface(tuple(map(str, scene)), frozenset()) for scene in neu_seg.scenes]
    dealt = splits.divide(surfaces, SHARES, np.random.default_rng(0))
    train, test = ([int(name) for one in dealt[split] for name in one.names] for split in ("train", "test"))

    leak = splits.leak(
        "test", train, test, dict(enumerate(neu_seg.labels)), scenes.stack(neu_seg.descriptors), neu_seg.masks, 4
    )

    assert leak.shared <= 0.01 * leak.of
