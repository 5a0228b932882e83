"""A small benchmark project on the real database, a script that answers, and the one seam that is faked: `run_ml`."""

import io
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from celery.signals import before_task_publish
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from PIL import Image as Picture

from catalog import files
from catalog.labels import store_label
from catalog.models import DefectClass, Image, Label, Project, ReferenceMask, Scene
from config import celery_app
from ml import facts, spec
from rounds import ml_process, outputs, schedule, transitions
from rounds.campaigns import create_campaign
from rounds.models import Campaign, Round, Stage, Status

SIZE = 64
TINY = {"network": {"name": "unet", "channels": 1, "width": 4}, "steps": 3, "batch": 4, "crop": SIZE}


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "data"
    settings.VIEWS_DIR = settings.DATA_DIR / "views"
    return settings.DATA_DIR


@pytest.fixture(autouse=True)
def rings(monkeypatch):
    """What was rung, as (task, id); the rings go to the tests' own broker, where no worker hears them."""
    monkeypatch.setattr(celery_app.amqp, "_producer_pool", None)  # it would keep the broker of an earlier test
    heard: list[tuple[str, int]] = []

    def hear(sender: str, body: Any, **_: Any) -> None:
        heard.append((sender, body[0][0]))

    before_task_publish.connect(hear, weak=False)
    yield heard
    before_task_publish.disconnect(hear)


@pytest.fixture
def anna(db) -> User:
    return User.objects.create_user("anna")


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Picture.fromarray(array).save(stream, "png")
    return stream.getvalue()


def truth_of(number: int) -> np.ndarray:
    """A square of class 1 or 2; every fifth image has no defect."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if number % 5:
        mask[16:40, 8 + number : 24 + number] = 1 + number % 2
    return mask


@pytest.fixture
def add_images(data_dir) -> Callable[..., list[Image]]:
    def add(project: Project, *, split: str, count: int, reference: bool = True) -> list[Image]:
        made = []
        for number in range(project.images.count(), project.images.count() + count):
            rng = np.random.default_rng(number)
            mask = truth_of(number)
            grey = np.clip(rng.normal(100, 10, (SIZE, SIZE)) + 60.0 * mask, 0, 255).astype(np.uint8)
            path = f"views/{project.pk}/{number}.png"
            sha256 = files.write_once(path, png(grey))
            image = Image.objects.create(
                project=project, scene=Scene.objects.create(project=project, split=split), name=f"{number:03}.png",
                sha256=sha256, original=path, view=path, view_sha256=sha256, width=SIZE, height=SIZE, split=split,
                descriptor=b"",
            )  # fmt: skip
            if reference:
                path = f"references/{project.pk}/{number}.png"
                ReferenceMask.objects.create(image=image, path=path, sha256=files.write_once(path, png(mask)))
            made.append(image)
        return made

    return add


@pytest.fixture
def make_project(db, add_images) -> Callable[..., Project]:
    def make(*, benchmark: bool = True, train: int = 8, val: int = 2, test: int = 2, name: str = "steel") -> Project:
        project = Project.objects.create(name=name, benchmark=benchmark)
        DefectClass.objects.create(project=project, index=1, name="scratch")
        DefectClass.objects.create(project=project, index=2, name="patch")
        for split, count in (("train", train), ("val", val), ("test", test)):
            add_images(project, split=split, count=count, reference=benchmark)
        return project

    return make


@pytest.fixture
def project(make_project) -> Project:
    return make_project()


@pytest.fixture
def make_campaign(anna) -> Callable[..., Campaign]:
    def make(project: Project, **values: Any) -> Campaign:
        given = {
            "name": f"campaign {project.campaigns.count() + 1}", "recipe_name": "supervised", "overrides": TINY,
            "budget": 8, "first_batch": 4, "batch": 2, "max_rounds": 2, "scripted": project.benchmark,
        }  # fmt: skip
        campaign = create_campaign(project, **(given | values))
        if campaign.scripted:
            Campaign.objects.filter(pk=campaign.pk).update(script_user=anna)
            campaign.refresh_from_db()
        return campaign

    return make


@pytest.fixture
def campaign(project, make_campaign) -> Campaign:
    return make_campaign(project)


@pytest.fixture
def label(anna) -> Callable[..., Label]:
    """A label as labelling stores it; the mask is the known truth unless one is given."""

    def make(image: Image, *, mask: np.ndarray | None = None) -> Label:
        return store_label(
            image, truth_of(int(image.name[:3])) if mask is None else mask, annotator=anna, seconds=1.0, origins={},
            scripted=image.project.benchmark, external_key=f"test:{Label.objects.count()}",
        )  # fmt: skip

    return make


@pytest.fixture
def answer(label) -> Callable[..., int]:
    """Answer the first open questions of a campaign, as labelling does; all of them unless told how many."""

    def fill(campaign: Campaign, count: int | None = None) -> int:
        questions = list(schedule.open_questions(campaign).order_by("rank")[:count])
        for question in questions:
            question.label = label(question.image)
            question.save(update_fields=["label"])
        return len(questions)

    return fill


@pytest.fixture
def open_round(db) -> Callable[..., Round]:
    """A round with the given kinds of stages, the first ones already done."""

    def make(campaign: Campaign, *kinds: str, number: int = 1, done: int = 0, settings: Any = None) -> Round:
        one = Round.objects.create(campaign=campaign, number=number, opened_because="a test")
        for position, kind in enumerate(kinds):
            Stage.objects.create(
                round=one, position=position, kind=kind, name=f"{kind} {position}",
                settings=(settings or {}).get(position, {}),
                status=Status.DONE if position < done else Status.PENDING,
            )  # fmt: skip
        return one

    return make


@pytest.fixture
def claimed(open_round) -> Callable[..., Stage]:
    """A stage of the given kind, claimed."""

    def make(campaign: Campaign, kind: str = "prepare", **settings: Any) -> Stage:
        number = campaign.rounds.count() + 1
        one = open_round(campaign, kind, number=number, settings={0: settings})
        stage = transitions.claim(one.stages.get().pk)
        assert stage is not None
        return stage

    return make


@pytest.fixture
def silent(db) -> Callable[[Stage, int], None]:
    """Let a stage's last heartbeat be some seconds old."""

    def make(stage: Stage, seconds: int) -> None:
        stage.heartbeat_at = timezone.now() - timezone.timedelta(seconds=seconds)
        Stage.objects.filter(pk=stage.pk).update(heartbeat_at=stage.heartbeat_at)

    return make


@pytest.fixture
def in_threads() -> Callable[..., list[Any]]:
    """What a function returns (or raises) in each of several threads, each with its own database connection."""

    def run(function: Callable[[], Any], count: int = 2) -> list[Any]:
        results: list[Any] = []

        def one() -> None:
            try:
                results.append(function())
            except Exception as problem:  # noqa: BLE001  whatever it was is the result
                results.append(problem)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run


@pytest.fixture
def processes_in() -> Callable[[str], list[int]]:
    """Ids of the processes that were started on a folder."""

    def find(folder: str) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if folder in (process / "cmdline").read_text():
                    found.append(int(process.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
        return found

    return find


@pytest.fixture
def wait_until() -> Callable[..., bool]:
    """Whether something became true within so many seconds."""

    def wait(true: Callable[[], Any], *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(true())

    return wait


@pytest.fixture
def ml_through(monkeypatch, tmp_path) -> Callable[[str], Path]:
    """Let the real `ml` be started by a line of shell; in it `$ml` stands for the command. The script that does."""

    def make(line: str) -> Path:
        script = tmp_path / "through.sh"
        script.write_text("#!/bin/sh\n" + line.replace("$ml", f'exec {sys.executable} "$@"') + "\n")
        script.chmod(0o755)
        monkeypatch.setattr(ml_process, "sys", SimpleNamespace(executable=str(script)))
        return script

    return make


@pytest.fixture
def fake_ml(monkeypatch) -> list[Any]:
    """The specs that `ml` was told; it answers at once."""
    told: list[Any] = []

    def run(verb: str, folder: Any, *, beat: Callable[[dict[str, Any]], None]) -> None:
        kind = {
            "train": spec.TrainSpec,
            "distil": spec.TrainSpec,
            "predict": spec.PredictSpec,
            "evaluate": spec.EvaluateSpec,
        }[verb]
        told.append(spec.read(kind, folder))
        beat({"step": 1, "steps": 1})
        spec.write(ANSWERS[verb](told[-1], folder), folder, "result.json")

    monkeypatch.setattr(outputs, "run_ml", run)
    return told


def _train(told: spec.TrainSpec, folder: Any) -> spec.TrainResult:
    names = ("a.pt", "b.pt", "final.pt")
    for name in names:
        (folder / name).write_bytes(f"{name} of {folder}".encode())
    return spec.TrainResult(
        checkpoint="final.pt", checkpoints=names, parameters=10, steps=told.steps, image_passes=told.steps * told.batch,
        seconds=1.0, device="cpu", loss=0.5, curve=((1, 0.5),),
    )  # fmt: skip


def _predict(told: spec.PredictSpec, folder: Any) -> spec.PredictResult:
    with zipfile.ZipFile(folder / "masks.zip", "w") as shard:
        for sample in told.samples:
            shard.writestr(f"{sample.id}.png", png(np.ones((SIZE, SIZE), np.uint8)))
    count = len(told.samples)
    facts.write(
        folder / facts.FACTS, [sample.id for sample in told.samples],
        {"margin": np.full(count, 0.5), "class_uncertainty": np.full((count, 2), 0.5), "embedding": np.eye(count)},
    )  # fmt: skip
    stability = 1.0 if len(told.checkpoints) > 1 else None
    scores = tuple(
        spec.Score(
            id=sample.id, member=f"{sample.id}.png", uncertainty=1 / (2 + place), confidence=place / (1 + place),
            stability=stability, reliability=stability and place / (1 + place), class_pixels=(0, SIZE * SIZE, 0),
        )
        for place, sample in enumerate(told.samples)
    )  # fmt: skip
    return spec.PredictResult(masks="masks.zip", scores=scores, seconds=1.0, device="cpu")


def _evaluate(told: spec.EvaluateSpec, folder: Any) -> spec.EvaluateResult:
    (folder / "confusions.npz").write_bytes(b"counts")
    figures = tuple(
        spec.Figures(
            checkpoint=path, confusion=((1, 0, 0), (0, 1, 0), (0, 0, 0)), iou=(1.0, 1.0, None), miou=1.0,
            miou_foreground=1.0,
        )
        for path in told.checkpoints
    )  # fmt: skip
    return spec.EvaluateResult(figures=figures, images=len(told.samples), per_image="confusions.npz", seconds=1.0)


ANSWERS = {"train": _train, "distil": _train, "predict": _predict, "evaluate": _evaluate}
