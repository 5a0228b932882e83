"""Every command that the README and the pages show is run as it stands there, on the stack's own data."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import torch

from annotation.formats import detect
from config.environment import ROOT
from ml import synthetic
from ml.networks.encoders import library

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = ".burnish/venv/bin/python"


def commands() -> list[str]:
    """The lines of all shell blocks, each once, in reading order."""
    blocks = [block for page in PAGES for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)]
    return list(dict.fromkeys(line for block in blocks for line in block.splitlines() if line))


def of(start: str) -> list[str]:
    return [command for command in commands() if command.startswith(start)]


def test_every_command_is_of_a_kind_that_is_run_here():
    kinds = ("make ", f"{PYTHON} manage.py ", f"{PYTHON} -m ml ", f"{PYTHON} -m annotation ")

    assert [command for command in commands() if not command.startswith(kinds)] == []


@pytest.mark.parametrize("command", of("make "))
def test_a_make_target_exists(command):
    """Only asked what it would do: the targets are run by their own tests, by hand and by whoever runs this."""
    asked = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )

    assert asked.returncode == 0, asked.stderr


@pytest.mark.acceptance
def test_the_management_commands_work_in_reading_order(stack, surfaces, tmp_path):
    told = [command for command in of(f"{PYTHON} manage.py ") if not command.endswith(" down")]  # the stack is shared
    assert told

    places = {
        "path/to/folder-or.zip": surfaces / "images",
        "path/to/new-folder": tmp_path / "new-folder",
        "path/to/backup.tar": tmp_path / "backup.tar",
    }
    for command in told:
        arguments = [str(places.get(one, one)) for one in shlex.split(command)[2:]]
        ran = stack.manage(*arguments, check=False)
        assert ran.returncode == 0, command + ran.stdout + ran.stderr


def test_the_researchers_commands_work_in_reading_order(tmp_path):
    told = of(f"{PYTHON} -m ml ")
    specs = iter(("train", "distil", "predict", "evaluate"))
    assert len(told) == 16
    published = library("segmentation_models_pytorch").FPN("resnet18", encoder_weights=None, classes=4)
    torch.save({"state_dict": published.state_dict()}, tmp_path / "published.pth")

    for command in told:
        arguments = shlex.split(command)[1:]
        if "DIR" in arguments:
            verb = next(specs)
            (tmp_path / verb).mkdir()
            (tmp_path / verb / "spec.json").write_text(json.dumps(spec(verb, tmp_path / "surfaces")))
            arguments[-1] = str(tmp_path / verb)
        subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path, check=True, capture_output=True, timeout=120,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def test_the_commands_about_formats_work(tmp_path):
    synthetic.generate(tmp_path / "surfaces", images=4, size=32, seed=0)
    paths = {"path/to/folder-or.zip": tmp_path / "surfaces", "path/to/new-folder": tmp_path / "new-folder"}
    told = of(f"{PYTHON} -m annotation ")
    assert told

    for command in told:
        arguments = [str(paths.get(one, one)) for one in shlex.split(command)[1:]]
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, timeout=120)

    assert len(detect(tmp_path / "new-folder").images) == 4


def spec(verb, surfaces) -> dict:
    samples = [
        {"id": path.stem, "image": str(path), "mask": str(surfaces / "masks" / path.name)}
        for path in sorted((surfaces / "images").iterdir())[:4]
    ]
    if verb == "train":
        return {"classes": ["scratch", "patch", "inclusion"], "labelled": samples, "steps": 3, "batch": 2, "crop": 64}
    weights = str(surfaces.parent / "train" / "checkpoint-3.pt")
    if verb == "distil":
        return {**spec("train", surfaces), "network": {"name": "lean"}, "distil": {"teachers": [weights]}}
    return {"classes": ["scratch", "patch", "inclusion"], "checkpoints": [weights], "samples": samples}
