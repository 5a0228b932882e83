"""The benches of asking and of the student, on generated surfaces; nothing is faked."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from ml import synthetic
from ml.__main__ import main
from ml.bench import active

TINY = {"steps": 2, "batch": 2, "crop": 64, "network": {"name": "half_unet", "channels": 1, "width": 2}}


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "surfaces"
    synthetic.generate(folder, images=24, size=64, seed=3)
    assert main(["scenes", str(folder), "--overlap", "0.75", "--out", str(folder / "scenes.json")]) == 0
    return folder


def times(work):
    return {path: path.stat().st_mtime_ns for path in work.glob("**/*.json") if "steps" in path.parts}


@pytest.mark.timeout(240)
def test_both_pools_are_judged_on_the_same_images_and_a_second_call_computes_nothing(surfaces, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    told = [
        "bench", "active", str(surfaces), "--work", str(work), "--budgets", "4", "6", "--seeds", "0",
        "--train", json.dumps(TINY), "--scenes", str(surfaces / "scenes.json"), "--out", str(out),
    ]  # fmt: skip

    assert main(told) == 0
    before = times(work)
    assert main(told) == 0

    assert before
    assert times(work) == before
    whole, unique = (
        json.loads((work / pool / "plan.json").read_text()) for pool in ("with-duplicates", "one-image-a-scene")
    )
    scene = {name: number for number, names in enumerate(whole["scenes"]) for name in names}
    assert whole["test"] == unique["test"]
    assert whole["held_out"] == unique["held_out"]
    assert len(unique["train"]) < len(whole["train"])
    assert sorted(scene[name] for name in unique["train"]) == sorted({scene[name] for name in whole["train"]})
    figures = json.loads((out / "active.json").read_text())
    asked = [["random", *others, active.DEFAULT] for others in active.OTHERS.values()]
    assert [list(one["needed"]) for one in figures.values()] == asked
    assert len(ET.parse(out / "active.svg").findall(".//{*}polyline")) == 4 + 3
    assert (out / "active.md").read_text().count("with at most") == 2


def report(*, default, random):
    """Of curves (seeds, budgets) over 10, 20 and 40 labels, where all labels give 1."""
    arms = [
        {"name": f"supervised + {name}", "budgets": [10, 20, 40], "miou": curves}
        for name, curves in (("random", random), (active.DEFAULT, default))
    ]
    return {"arms": arms, "full": [1.0] * len(random)}


SLOW, FAST, NEVER = [0.5, 0.9, 1.0], [0.5, 1.0, 1.0], [0.5, 0.6, 0.7]


@pytest.mark.parametrize(
    ("default", "random", "verdict"),
    [
        ([FAST, FAST], [SLOW, SLOW], "met, 63 % [63 %]"),
        ([FAST, SLOW], [SLOW, SLOW], "met by the mean, not by the whole interval, 67 % [63 % to 100 %]"),
        ([SLOW, SLOW], [FAST, FAST], "missed, 158 % [158 %]"),
        ([FAST, FAST], [NEVER, NEVER], "met, at most 48 % [at most 48 %]"),
        ([NEVER, NEVER], [SLOW, SLOW], "missed, > 133 % [> 133 %]"),
        ([NEVER, NEVER], [NEVER, NEVER], "open, not known [not known]"),
    ],
)
def test_a_goal_is_judged_by_what_is_known_of_both_curves(default, random, verdict):
    one = {"needed": active._needed(report(default=default, random=random)), "goal": 0.85}

    assert active._verdict(one) == verdict


@pytest.mark.timeout(240)
def test_the_student_is_taught_on_the_passes_of_its_rivals_and_a_second_call_computes_nothing(surfaces, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    told = [
        "bench", "student", str(surfaces), "--work", str(work), "--networks", "mff_metal", "--teacher", "half_unet",
        "--seeds", "4", "--steps", "2", "--train", json.dumps({"batch": 2, "crop": 32}),
        "--own", json.dumps({"mff_metal": {"learning_rate": 0.001}}), "--scenes", str(surfaces / "scenes.json"),
        "--out", str(out),
    ]  # fmt: skip

    assert main(told) == 0
    before = times(work)
    assert main(told) == 0

    assert before
    assert times(work) == before
    figures = json.loads((out / "student.json").read_text())
    rows = {row["name"]: row for row in figures["rows"]}
    assert list(rows) == ["lean, taught", "lean", "mff_metal", "half_unet, teacher"]
    assert {(row["image_passes"], *row["seeds"]) for row in rows.values()} == {(4, 4)}
    assert rows["lean"]["parameters"] == rows["lean, taught"]["parameters"] < 1_000_000
    specs = [json.loads(path.read_text()) for path in work.glob("steps/train-*/spec.json")]
    assert len(specs) == 4
    assert {json.dumps(one["labelled"]) for one in specs} == {json.dumps(specs[0]["labelled"])}
    assert {one["learning_rate"] for one in specs if one["network"]["name"] == "mff_metal"} == {0.001}
    assert {one["seed"] for one in specs} == {4}
    ((teacher,),) = [one["distil"]["teachers"] for one in specs if one["distil"]]
    assert json.loads((Path(teacher).parent / "spec.json").read_text())["network"]["name"] == "half_unet"
    assert "| mff_metal | 980,482 |" in (out / "student.md").read_text()
    assert len(ET.parse(out / "student.svg").findall(".//{*}circle")) == 4


def test_what_the_student_is_ahead_is_paired_by_seed(surfaces, tmp_path):
    told = [
        "bench", "student", str(surfaces), "--work", str(tmp_path), "--networks", "--teacher", "half_unet", "--steps", "1",
        "--seeds", "0", "1", "--train", json.dumps({"batch": 2, "crop": 32}), "--out", str(tmp_path / "out"),
        "--scenes", str(surfaces / "scenes.json"),
    ]  # fmt: skip

    assert main(told) == 0

    figures = json.loads((tmp_path / "out" / "student.json").read_text())
    taught, alone, _ = figures["rows"]
    pair = figures["differences"][0]
    by_seed = np.subtract(*(row["miou_foreground_by_seed"] for row in (taught, alone)))
    assert pair["second"] == "lean"
    assert pair["difference"] == pytest.approx(by_seed.mean())
    assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
    assert pair["p"] in {0.5, 1.0}


def test_on_a_leaking_split_the_look_up_stands_beside_the_figures(surfaces, tmp_path):
    scenes = json.loads((surfaces / "scenes.json").read_text())
    twins = next(names for names in scenes if len(names) > 1)
    rest = [name for names in scenes if names != twins for name in names]
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": [twins[0], *rest[:6]], "test": [twins[1], *rest[6:9]]}))

    told = [
        "bench", "student", str(surfaces), "--work", str(tmp_path), "--networks", "--teacher", "half_unet",
        "--seeds", "0", "--steps", "1", "--train", json.dumps({"batch": 2, "crop": 32}),
        "--splits", str(splits), "--scenes", str(surfaces / "scenes.json"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(told) == 0

    page = (tmp_path / "out" / "student.md").read_text()
    figures = json.loads((tmp_path / "out" / "student.json").read_text())
    assert "**The split leaks**" in page
    assert "| looked up |" in page
    assert figures["look_up"]["miou"] > 0


def test_a_network_that_diverges_is_named_and_the_others_go_on(surfaces, tmp_path):
    told = [
        "bench", "student", str(surfaces), "--work", str(tmp_path), "--networks", "unet", "--teacher", "half_unet",
        "--seeds", "0", "--steps", "4", "--train", json.dumps({"batch": 2, "crop": 32}),
        "--own", json.dumps({"half_unet": {"learning_rate": 1e30, "optimiser": "sgd"}}),
        "--scenes", str(surfaces / "scenes.json"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip

    assert main(told) == 0

    figures = json.loads((tmp_path / "out" / "student.json").read_text())
    assert [row["name"] for row in figures["rows"]] == ["lean", "unet"]
    assert [one.partition(":")[0] for one in figures["diverged"]] == [
        "seed 0, half_unet, teacher",
        "seed 0, lean, taught",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--teacher", "ppl"], "expected some of unet, half_unet"),
        (["--networks", "lean_net"], "got lean_net"),
        (["--splits", "missing.json"], "missing.json: no such file"),
        (["--own", '{"mff": {}}'], "got mff"),
        (["--own", '{"lean": {"steps": 9}}'], "expected the same image passes for all, got steps"),
    ],
)
def test_what_the_student_cannot_be_compared_with_is_refused(surfaces, tmp_path, capsys, changed, message):
    told = ["bench", "student", str(surfaces), "--work", str(tmp_path), "--scenes", str(surfaces / "scenes.json")]

    assert main([*told, "--out", str(tmp_path / "out"), *changed]) == 1
    assert message in capsys.readouterr().err
