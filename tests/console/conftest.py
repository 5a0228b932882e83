"""Rows as the pages meet them: small factories on the real database, with real files where a page draws them."""

import io
import zipfile
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from PIL import Image as Picture

from catalog.labels import classes_shown
from catalog.models import DefectClass, Image, Import, Label, Project, Scene, Split
from labelling.models import LabellingProject, RemoteAnnotation, Task
from ml.recipes import frozen_copy
from rounds.models import (
    Acquisition,
    Campaign,
    Evaluation,
    ModelVersion,
    Prediction,
    PseudoLabel,
    Purpose,
    Round,
    Snapshot,
    Stage,
    StageFile,
    Status,
)

SIZE = 32  # pixels of a made view
NUMBERS = count(1)  # for fields that have to be unique


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path) -> Path:
    settings.DATA_DIR = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    return tmp_path


@pytest.fixture
def annotator(db) -> User:
    return User.objects.create_user("ann@burnish.example")


@pytest.fixture
def engineer(db) -> User:
    return User.objects.create_superuser("eve@burnish.example")


@pytest.fixture
def as_annotator(client, annotator):
    client.force_login(annotator)
    return client


@pytest.fixture
def as_engineer(client, engineer):
    client.force_login(engineer)
    return client


@pytest.fixture
def project(db) -> Project:
    made = Project.objects.create(name="Line 3", benchmark=True)
    DefectClass.objects.create(project=made, index=1, name="scratch", colour="#ff0000")
    DefectClass.objects.create(project=made, index=2, name="pit", colour="#0000ff")
    return made


@pytest.fixture
def campaign(project) -> Campaign:
    return make_campaign(project)


@pytest.fixture
def make(db) -> SimpleNamespace:
    """The factories below: `make.round(campaign, {...})`."""
    return SimpleNamespace(
        campaign=make_campaign, image=make_image, label=make_label, round=make_round, model=make_model,
        evaluation=make_evaluation, predictions=make_predictions, pseudo_labels=accept, acquisitions=ask,
        labelling_project=make_labelling_project, task=make_task, problem=make_problem, imported=make_import,
        full_round=make_full_round,
    )  # fmt: skip


def make_campaign(project: Project, **values) -> Campaign:
    defaults = {"budget": 60, "first_batch": 20, "batch": 10, "max_rounds": 3, "recipe_name": "ppl"}
    values = {"name": f"campaign {next(NUMBERS)}", "recipe": frozen_copy("ppl"), **defaults, **values}
    return Campaign.objects.create(project=project, **values)


def make_image(project: Project, split: str = Split.TRAIN, data: np.ndarray | None = None) -> Image:
    number = next(NUMBERS)
    path = Path("views") / f"{number}.png"
    write_png(path, np.full((SIZE, SIZE), 128, np.uint8) if data is None else data)
    return Image.objects.create(
        project=project, scene=Scene.objects.create(project=project, split=split), split=split,
        name=f"plate_{number:04}.png", sha256=f"{number:064}", original=f"originals/{number}.png",
        view=str(path), view_sha256=f"{number:064}", width=SIZE, height=SIZE, descriptor=b"",
    )  # fmt: skip


def make_label(image: Image, mask: np.ndarray | None = None, **values) -> Label:
    number = next(NUMBERS)
    path = Path("labels") / f"{number}.png"
    mask = np.zeros((SIZE, SIZE), np.uint8) if mask is None else mask
    write_png(path, mask)
    defaults = {"path": str(path), "sha256": f"{number:064}", "external_key": f"test:{number}",
                "classes": classes_shown(mask)}  # fmt: skip
    return Label.objects.create(image=image, **{**defaults, **values})


def make_round(campaign: Campaign, statuses: dict[str, str] | None = None, number: int | None = None) -> Round:
    """A round with the stages named, "kind" or "kind: name" -> status."""
    number = campaign.rounds.count() if number is None else number
    made = Round.objects.create(campaign=campaign, number=number, opened_because="started by eve")
    for position, (name, status) in enumerate((statuses or {}).items()):
        make_stage(made, position, name.partition(":")[0], name.partition(": ")[2] or name, status)
    return made


def make_stage(one: Round, position: int, kind: str, name: str, status: str) -> Stage:
    begun = None if status == Status.PENDING else timezone.now() - timedelta(seconds=75)
    over = timezone.now() if status in {Status.DONE, Status.FAILED} else None
    return Stage.objects.create(
        round=one, position=position, kind=kind, name=name, status=status, started_at=begun, finished_at=over
    )


def make_model(stage: Stage, *, champion: bool = False, labelled: int = 20, pseudo: int = 0) -> ModelVersion:
    project = stage.round.campaign.project
    Snapshot.objects.create(stage=stage, digest="abc123" * 10, labelled=labelled, pseudo=pseudo, items=[])
    return ModelVersion.objects.create(
        project=project, stage=stage, number=project.models.count() + 1, network="unet", parameters=487_000,
        path=f"stages/{stage.pk}/attempt-1/checkpoint.pt", sha256="f" * 64, image_passes=16_000, seconds=81.4,
        champion=champion,
    )  # fmt: skip


def make_evaluation(model: ModelVersion, split: str = Split.TEST, *, miou: float = 0.731, images: int = 90):
    return Evaluation.objects.create(
        stage=model.stage, model=model, split=split, images=images, confusion=[[900, 50, 50], [20, 80, 0], [0, 0, 0]],
        miou=miou, miou_foreground=miou - 0.1, iou=[0.9, 0.5, None],
    )  # fmt: skip


def make_predictions(stage: Stage, model: ModelVersion, images: list[Image], mask: np.ndarray) -> list[Prediction]:
    """Predictions of all the images with one mask, in a real shard; reliability falls from image to image."""
    shard = Path("stages") / str(stage.pk) / "masks.zip"
    write(shard, zip_of({f"{image.pk}.png": png(mask) for image in images}))
    StageFile.objects.create(stage=stage, name="masks.zip", path=str(shard), sha256="e" * 64, size=1)
    return Prediction.objects.bulk_create(
        Prediction(
            stage=stage, model=model, image=image, member=f"{image.pk}.png", uncertainty=0.2, confidence=0.8,
            reliability=0.9 - 0.01 * rank, class_pixels=np.bincount(mask.ravel(), minlength=3).tolist(),
        )
        for rank, image in enumerate(images)
    )  # fmt: skip


def accept(stage: Stage, predictions: list[Prediction]) -> list[PseudoLabel]:
    return PseudoLabel.objects.bulk_create(
        PseudoLabel(
            stage=stage, prediction=one, image=one.image, reliability=one.reliability,
            rule="the top 50% by reliability",
        )
        for one in predictions
    )  # fmt: skip


def ask(stage: Stage, images: list[Image], **values) -> list[Acquisition]:
    defaults = {"purpose": Purpose.CHOSEN, "reason": "its edges are unsure"}
    return [
        Acquisition.objects.create(
            campaign=stage.round.campaign, stage=stage, image=image, rank=rank, **{**defaults, **values}
        )
        for rank, image in enumerate(images)
    ]


def make_full_round(campaign: Campaign, *, pictures: int = 2) -> Round:
    """A round that trained, pseudo-labelled half of its pictures, and waits for people."""
    done = ("train: train on labels", "predict: predict the pool", "select: select the reliable half", "acquire")
    one = make_round(campaign, {**dict.fromkeys(done, Status.DONE), "annotate": Status.WAITING})
    train, predict, select, acquire, _ = one.stages.all()
    model = make_model(train)
    make_evaluation(model, Split.TEST)
    make_evaluation(model, Split.VAL, miou=0.702, images=60)
    images = [make_image(campaign.project) for _ in range(pictures)]
    predictions = make_predictions(predict, model, images, np.ones((SIZE, SIZE), np.uint8))
    accept(select, predictions[: pictures // 2])
    ask(acquire, images[pictures // 2 :])
    return one


def make_labelling_project(campaign: Campaign, **values) -> LabellingProject:
    return LabellingProject.objects.create(campaign=campaign, remote_id=next(NUMBERS), **values)


def make_task(acquisition: Acquisition) -> Task:
    labelling = acquisition.campaign.labelling_project
    return Task.objects.create(project=labelling, acquisition=acquisition, remote_id=next(NUMBERS))


def make_problem(task: Task, problem: str) -> RemoteAnnotation:
    return RemoteAnnotation.objects.create(
        task=task, remote_id=next(NUMBERS), updated_at=timezone.now(), problem=problem
    )


def make_import(project: Project, **values) -> Import:
    return Import.objects.create(project=project, source="/data/line3.zip", **values)


def png(mask: np.ndarray) -> bytes:
    data = io.BytesIO()
    Picture.fromarray(mask).save(data, "PNG")
    return data.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as shard:
        for name, content in members.items():
            shard.writestr(name, content)
    return data.getvalue()


def write_png(path: Path, pixels: np.ndarray) -> None:
    write(path, png(pixels))


def write(path: Path, data: bytes) -> None:
    from django.conf import settings

    full = settings.DATA_DIR / path
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_bytes(data)
