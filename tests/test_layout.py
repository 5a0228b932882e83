"""The rules of the tree that no tool checks by itself. This file decides arguments."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.environment import ROOT

PLATFORM = ROOT / "platform"
# Given truth is read where it is imported and kept, and by validation, evaluation and the scripted annotator.
READERS_OF_TRUTH = {"labelling/script.py", "rounds/stages/evaluate.py", "rounds/stages/train.py"}


def modules(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """(path below the folder, syntax tree) of our modules; migrations only repeat the models."""
    for path in sorted(folder.rglob("*.py")):
        if "migrations" not in path.parts:
            yield path.relative_to(folder).as_posix(), ast.parse(path.read_text())


def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A fresh interpreter, started in the root as a person would."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **variables},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_standard_platform_module_stays_itself():
    done = run("import platform, uuid, celery; print(platform.system())", PYTHONPATH=".:platform")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Linux"


@pytest.mark.parametrize("folder", ["platform", "tests"])
def test_a_source_root_is_no_package(folder):
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_test_folder_is_a_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_make_test_runs_every_acceptance_test():
    told = (ROOT / "Makefile").read_text()
    (served,) = re.findall(r"^SERVED := (.*)$", told, re.MULTILINE)
    (others,) = re.findall(r"-m pytest -m acceptance (.*)$", told, re.MULTILINE)
    run = [ROOT / folder for folder in f"{served} {others}".split()]

    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.acceptance" in path.read_text()]

    assert [path for path in marked if not any(map(path.is_relative_to, run))] == [Path(__file__)]


def test_platform_holds_packages_only():
    assert not list(PLATFORM.glob("*.py"))


@pytest.mark.parametrize("slow", ["torch", "pandas"])  # a second or two each, in six processes
def test_the_web_side_and_the_workers_start_without(slow):
    names = "config.wsgi, console.urls, labelling.tasks, rounds.tasks, catalog.tasks, catalog.admin"
    code = f"import django; django.setup(); import {names}; import sys; sys.exit('{slow}' in sys.modules)"

    done = run(code, PYTHONPATH=".:platform", DJANGO_SETTINGS_MODULE="config.settings")

    assert done.returncode == 0, done.stderr or f"one of them imports {slow}"


@pytest.mark.parametrize(
    "name", ["scenes", "metrics", "acquisition", "facts", "recipes", "selection", "simulate", "spec"]
)
def test_what_the_platform_needs_of_ml_loads_without_torch(name):
    done = run(f"import ml.{name}, sys; sys.exit('torch' in sys.modules)", PYTHONPATH=".")

    assert done.returncode == 0, done.stderr or f"ml.{name} imports torch"


def writes_of_status(tree: ast.Module) -> Iterator[int]:
    """Lines that write a `status` other than an import's: by assignment, or through a query set."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets = [target for target in node.targets if isinstance(target, ast.Attribute)]
            if any(target.attr == "status" for target in targets):
                yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITERS:
            given = [keyword.value for keyword in node.keywords if keyword.arg == "status"]
            if any(not ast.unparse(value).startswith("Import.") for value in given):
                yield node.lineno


WRITERS = {"update", "create", "get_or_create", "update_or_create"}


def test_only_the_transitions_write_the_status_of_a_stage():
    elsewhere = [
        f"{path}:{line}"
        for path, tree in modules(PLATFORM)
        # An import has a status of its own, which the catalogue writes: it knows no stages.
        if not path.startswith("catalog/") and path != "rounds/transitions.py"
        for line in writes_of_status(tree)
    ]

    assert elsewhere == []


def test_the_transitions_do_write_it():
    tree = ast.parse((PLATFORM / "rounds" / "transitions.py").read_text())

    assert list(writes_of_status(tree))


def reads_truth(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "ReferenceMask" for alias in node.names):
            return True
        if isinstance(node, ast.Attribute) and node.attr == "reference":
            return True
        if isinstance(node, ast.keyword) and (node.arg or "").split("__")[0] == "reference":
            return True
    return False


def test_given_truth_is_read_only_where_it_may_be():
    readers = {path for path, tree in modules(PLATFORM) if not path.startswith("catalog/") and reads_truth(tree)}

    assert readers <= READERS_OF_TRUTH
    assert "labelling/script.py" in readers


def test_layers_point_down():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, env={**os.environ, "PYTHONPATH": ".:platform"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
