"""Real simulations on generated surfaces of 64 pixels; nothing is faked."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ml import synthetic
from ml.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
TINY = {"steps": 3, "batch": 2, "crop": 64, "network": {"name": "half_unet", "channels": 1, "width": 2}}


def command(surfaces, out, accept=True, **changed):
    given = {
        "recipes": ["ppl"], "acquisitions": ["random_scenes", "stratified_entropy"], "budgets": [4, 6], "seeds": [0],
        "train": [json.dumps(TINY)], "scenes": [surfaces / "scenes.json"], **changed,
    }  # fmt: skip
    options = [word for name, values in given.items() for word in (f"--{name}", *map(str, values))]
    if accept:
        options.append("--accept-background")  # nobody learns what a defect is in three steps
    return ["simulate", str(surfaces), "--out", str(out), *options]


def files_of(out, pattern):
    return {path: path.stat().st_mtime_ns for path in out.glob(pattern)}


def workers_of(out):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(out) in words and "--worker" in words:
            found.append(int(process.name))
    return found


def wait_until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "surfaces"
    synthetic.generate(folder, images=30, size=64, seed=3)
    assert main(["scenes", str(folder), "--out", str(folder / "scenes.json")]) == 0
    return folder


@pytest.fixture(scope="module")
def resumed(surfaces, tmp_path_factory):
    """OUT of a simulation that was killed after its first round and started again; steps that were done by then."""
    out = tmp_path_factory.mktemp("simulated") / "out"
    told = [sys.executable, "-m", "ml", *command(surfaces, out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(told, env=environment, cwd=out.parent, stdout=subprocess.DEVNULL)
    wait_until(lambda: files_of(out, "cells/*/labels-*.json"))
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_until(lambda: not workers_of(out), 10)
    before = files_of(out, "cells/*/labels-*.json") | files_of(out, "steps/*/result.json")

    subprocess.run(told, env=environment, cwd=out.parent, check=True, stdout=subprocess.DEVNULL)
    return out, before


@pytest.mark.timeout(240)
def test_a_simulation_that_was_killed_goes_on_and_does_nothing_again(resumed):
    out, before = resumed

    after = files_of(out, "cells/*/labels-*.json") | files_of(out, "steps/*/result.json")
    assert 0 < len(before) < len(after)
    assert before.items() <= after.items()
    assert len(files_of(out, "cells/ppl-*/labels-*.json")) == 4
    assert not list(out.glob("steps/*/state.pt"))


def test_only_masks_that_were_asked_for_are_ever_trained_on(resumed):
    out, _ = resumed

    for cell in out.glob("cells/ppl-*"):
        points = [json.loads(path.read_text()) for path in sorted(cell.glob("labels-*.json"))]
        assert [(point["labels"], len(point["asked"])) for point in points] == [(4, 2), (6, 0)]
        assert all(one["reason"] for one in points[0]["asked"])
    full = next(out.glob("cells/full-*/labels-*.json"))
    told = [json.loads(path.read_text()) for path in out.glob("steps/train-*/spec.json")]
    assert {len(one["labelled"]) for one in told} == {4, 6, json.loads(full.read_text())["labels"]}
    for one in told:
        truth = {sample["mask"] for sample in one["labelled"]}
        assert not any(sample["mask"] in truth or "masks.zip" not in sample["mask"] for sample in one["pseudo"])
        assert not {sample["id"] for sample in (*one["labelled"], *one["pseudo"])} & set(one["held_out"])
    for path in out.glob("steps/predict-*/spec.json"):
        assert {sample["mask"] for sample in json.loads(path.read_text())["samples"]} == {None}


def test_cells_share_the_steps_that_are_the_same(resumed):
    out, _ = resumed

    # ppl trains three times a round: the common first round once, a second round for each of two strategies; and full.
    assert len(list(out.glob("steps/train-*"))) == 3 + 2 * 3 + 1


def test_the_report_says_over_what_its_figures_are(resumed):
    out, _ = resumed

    told, table = json.loads((out / "report.json").read_text()), (out / "report.md").read_text()
    assert [one["name"] for one in told["arms"]] == ["ppl + random_scenes", "ppl + stratified_entropy"]
    assert told["seeds"] == [0]
    assert told["arms"][0]["mean"][0] == told["arms"][1]["mean"][0]
    assert told["image_passes"] > 0
    for words in ("scene-disjoint", "Seeds 0, commit", "image passes", "95 % of full", "sign-flip"):
        assert words in table
    assert len(ET.parse(out / "curves.svg").findall(".//{*}polyline")) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"budgets": [6, 4]}, "--budgets: expected growing numbers"),
        ({"budgets": [4, 999]}, "training images, got 4 999"),
        ({"passes": [0]}, "--passes: expected image passes, 1 or more a round, got 0"),
        ({"budgets": [4, 5]}, "holds cells with other budgets"),
        ({"train": ['{"steps": 4}']}, "holds cells with other settings"),
        ({"passes": [9]}, "holds cells with other passes"),
    ],
)
def test_what_cannot_be_compared_is_refused(surfaces, resumed, capsys, changed, message):
    out, _ = resumed

    assert main(command(surfaces, out, **changed)) == 1
    assert message in capsys.readouterr().err


def test_a_split_that_cuts_through_a_scene_is_refused(surfaces, tmp_path, capsys):
    scenes = json.loads((surfaces / "scenes.json").read_text())
    twins = next(names for names in scenes if len(names) > 1)
    rest = [name for names in scenes if names != twins for name in names]
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": [twins[0], *rest[:12]], "val": [], "test": [twins[1], *rest[12:]]}))

    assert main(command(surfaces, tmp_path / "out", splits=[splits])) == 1
    assert "expected splits that share no scene, 1 training images show one" in capsys.readouterr().err


def test_a_campaign_whose_pseudo_labels_collapse_says_so_and_the_others_go_on(surfaces, tmp_path, capfd):
    """With a millionth of a rate: the network calls nothing a defect with any certainty."""
    told = json.dumps(TINY | {"steps": 1, "learning_rate": 1e-6})
    given = {"recipes": ["ppl", "supervised"], "acquisitions": ["random_scenes"], "budgets": [4], "train": [told]}

    assert main(command(surfaces, tmp_path / "out", accept=False, **given)) != 0

    said = capfd.readouterr()
    assert "ppl-random_scenes-seed0: Expected pseudo-labels with defects, for the labels show them on" in said.out
    assert "simulate: 1 cells are not finished (ppl-random_scenes-seed0" in said.err
    assert files_of(tmp_path, "out/cells/supervised-*/labels-*.json")
    assert main(command(surfaces, tmp_path / "out", **given)) == 0
