"""A project with images on the real database, and the one seam that unit tests fake: the Label Studio client."""

import io
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from zipfile import ZipFile

import httpx
import numpy as np
import pytest
from django.contrib.auth.models import User
from PIL import Image as Picture

from annotation import task_json
from annotation.client import LabelStudio, LabelStudioError
from annotation.errors import TIMEOUT
from annotation.masks import write_index_png
from annotation.remote import ProjectCounts, RemoteAnnotation, RemoteTask, RemoteUser
from catalog import files
from catalog.models import DefectClass, Image, Project, ReferenceMask, Scene
from labelling import outbox, studio, tasks
from labelling.models import Annotator
from rounds import doorbell
from rounds.campaigns import create_campaign
from rounds.models import Acquisition, Campaign, ModelVersion, Prediction, Purpose, Round, Stage, StageFile, Status

SIZE = (48, 32)  # width, height
CLASSES = ["scratch", "patch"]


class FakeLabelStudio:
    """What Label Studio would hold, in memory; `down` makes every request fail."""

    def __init__(self) -> None:
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, list[RemoteAnnotation]] = {}
        self.moved: dict[int, datetime] = {}
        self.calls: list[str] = []
        self.down = False
        self.webhooks_refused = False
        self.after_import: Callable[[], None] = lambda: None
        self.now = datetime(2026, 11, 20, 8, tzinfo=UTC)

    # What people do

    def answer(self, task: int, result: list[dict[str, Any]], *, by: int = 7, **state: Any) -> RemoteAnnotation:
        annotation = RemoteAnnotation(
            id=1000 + sum(map(len, self.annotations.values())), result=tuple(result), completed_by=by,
            created_at=self.tick(task), updated_at=self.now, lead_time=12.5, was_cancelled=False, parent_prediction=None,
        )  # fmt: skip
        self.annotations[task].append(replace(annotation, **state))
        return self.annotations[task][-1]

    def correct(self, task: int, annotation: RemoteAnnotation, **state: Any) -> None:
        self.annotations[task].remove(annotation)
        self.annotations[task].append(replace(annotation, updated_at=self.tick(task), **state))

    def delete(self, task: int, annotation: RemoteAnnotation) -> None:
        self.annotations[task].remove(annotation)
        self.tick(task)

    def tick(self, task: int) -> datetime:
        self.now += timedelta(minutes=5)
        self.moved[task] = self.now
        return self.now

    # The client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _asked(self, what: str) -> None:
        if self.down:
            raise LabelStudioError(f"Label Studio could not be reached to {what}. Check that it runs.")
        self.calls.append(what)

    def current_user(self) -> RemoteUser:
        return RemoteUser(id=1, email="admin@burnish.example")

    def find_project(self, description: str) -> int | None:
        self._asked("find project")
        return next((pk for pk, one in self.projects.items() if one["description"] == description), None)

    def create_project(self, title: str, **words: str) -> int:
        self._asked("create project")
        self.projects[40 + len(self.projects)] = {"title": title, "model_version": "", **words}
        return max(self.projects)

    def update_project(self, project: int, **words: str) -> None:
        self._asked("update project")
        self.projects[project] |= words

    def set_model_version(self, project: int, version: str) -> None:
        if not any(one["project"] == project for one in self.tasks.values()):
            raise LabelStudioError("Model version doesn't exist either as live model or as static predictions")
        self.projects[project]["model_version"] = version

    def permit_local_files(self, project: int, folder: Any) -> None:
        self.projects[project]["folder"] = folder

    def ensure_webhook(self, project: int, **how: str) -> None:
        if self.webhooks_refused:
            raise LabelStudioError("URL resolves to a reserved network address")
        self.projects[project]["webhook"] = how

    def counts(self, project: int) -> ProjectCounts:
        self._asked("count")
        return ProjectCounts(tasks=len(self.task_ids(project)), finished=0, annotations=0, skipped=0, predictions=0)

    def import_tasks(self, project: int, tasks: Sequence[dict[str, Any]]) -> list[int]:
        self._asked("import")
        ids = list(range(len(self.tasks) + 500, len(self.tasks) + 500 + len(tasks)))
        for pk, task in zip(ids, tasks, strict=True):
            self.tasks[pk] = {**task, "project": project}
            self.annotations[pk] = []
            self.moved[pk] = self.now
        self.after_import()
        return ids

    def tasks_by_acquisition(self, project: int, acquisitions: Collection[int]) -> dict[int, int]:
        self._asked("look")
        found = {self.tasks[pk]["data"]["acquisition"]: pk for pk in self.task_ids(project)}
        return {one: pk for one, pk in found.items() if one in acquisitions}

    def acquisitions_of_unanswered(self, project: int, tasks: Collection[int]) -> dict[int, int]:
        return {pk: self.tasks[pk]["data"]["acquisition"] for pk in tasks if not self.annotations[pk]}

    def delete_tasks(self, project: int, tasks: Collection[int]) -> None:
        for pk in tasks:
            del self.tasks[pk]

    def predictions_of(self, project: int, tasks: Collection[int]) -> dict[int, int]:
        return {pk: pk for pk in tasks if pk in self.tasks}

    def replace_prediction(self, project: int, prediction: int, result: Sequence[dict[str, Any]]) -> None:
        self.tasks[prediction]["predictions"][0]["result"] = result

    def rename_model(self, task: int, data: dict[str, Any]) -> None:
        self.tasks[task]["data"] = data

    def set_access(self, person: int, *, active: bool) -> None:
        self._asked(f"let {person} in: {active}")

    def task_ids(self, project: int) -> set[int]:
        return {pk for pk, one in self.tasks.items() if one["project"] == project}

    def tasks_changed_since(self, project: int, since: datetime | None) -> Iterator[RemoteTask]:
        self._asked("poll")
        for pk in sorted(self.task_ids(project), key=lambda pk: self.moved[pk]):
            if since is None or self.moved[pk] >= since:
                yield RemoteTask(id=pk, updated_at=self.moved[pk], annotations=tuple(self.annotations[pk]))

    def sign_up(self, email: str, password: str) -> int:
        self._asked("sign up")
        return 300 + sum(map(ord, email)) % 1000


@pytest.fixture(autouse=True)
def _data_dir(request, settings, tmp_path) -> Iterator[None]:
    if request.node.get_closest_marker("acceptance"):
        # A real Label Studio shows the files of its own document root. The stack has no rows for them: they go again.
        before = set(settings.DATA_DIR.rglob("*"))
        yield
        for path in set(settings.DATA_DIR.rglob("*")) - before:
            if path.is_file():
                path.unlink()
        return
    settings.DATA_DIR = tmp_path / "data"
    settings.VIEWS_DIR = settings.DATA_DIR / "views"
    settings.WEBHOOK_SECRET = "a shared secret"
    yield


@pytest.fixture
def remote(monkeypatch) -> FakeLabelStudio:
    fake = FakeLabelStudio()
    monkeypatch.setattr(studio, "client", lambda: fake)
    return fake


class Line:
    """A real HTTP proxy before the real Label Studio. `plan` says what befalls a request, given its method and path.

    refuse: it never arrives. lose: it is obeyed, the answer is lost. late: it arrives once it is delivered.
    cut: half of the answer comes. hang: nothing comes for a while. "500", "page": something else answers.
    """

    FAULTS = ("refuse", "lose", "cut", "hang", "500", "page")

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.plan: Callable[[str, str], str] = lambda *_: ""
        self.late: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.patience = LabelStudio._request.__kwdefaults__  # of every request but an import
        handler = type("Handler", (_Forwarder,), {"line": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def fails_at(self, number: int, fault: str) -> None:
        """The request with this number from now on, counted from 0, is befallen by `fault`."""
        self.patience["timeout"] = httpx.Timeout(1, connect=5) if fault == "hang" else TIMEOUT
        requests = itertools.count()
        self.plan = lambda *_: fault if next(requests) == number else ""

    def is_fine(self) -> None:
        self.patience["timeout"] = TIMEOUT
        self.plan = lambda *_: ""

    def deliver(self) -> None:
        """Let what is late arrive."""
        while self.late:
            self.pass_on(*self.late.pop())

    def pass_on(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return httpx.request(method, self.upstream + path, content=body, headers=headers, timeout=60)


class _Forwarder(BaseHTTPRequestHandler):
    line: Line

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        request = (self.command, self.path, body, headers)
        match self.line.plan(self.command, self.path):
            case "refuse":
                return
            case "hang":
                time.sleep(1.5)  # longer than the patience with it
            case "500":
                self._say(500, b"<h1>Server Error (500)</h1>", "text/html")
            case "page":
                self._say(200, b"<h1>Back soon</h1>", "text/html")
            case "late":
                self.line.late.append(request)
            case "lose":
                self.line.pass_on(*request)
            case "cut":
                answer = self.line.pass_on(*request)
                self._say(answer.status_code, answer.content, "application/json", cut=True)
            case _:
                answer = self.line.pass_on(*request)
                self._say(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  its base class finds them so

    def _say(self, status: int, content: bytes, kind: str, *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def line(label_studio, settings) -> Iterator[Line]:
    """What Burnish takes for Label Studio."""
    one = Line(label_studio.url)
    settings.LABEL_STUDIO_URL = one.url
    yield one
    one.is_fine()
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def rings(monkeypatch) -> list[tuple[str, int]]:
    """What was rung, as (task, id), instead of a broker."""
    heard: list[tuple[str, int]] = []
    monkeypatch.setattr(doorbell, "_ring", lambda task, pk: heard.append((task, pk)))
    monkeypatch.setattr(tasks, "ring", lambda task, pk, **_: heard.append((task.name, pk)))
    return heard


@pytest.fixture
def project(db) -> Project:
    project = Project.objects.create(name="rail heads", benchmark=True)
    for index, name in enumerate(CLASSES, start=1):
        DefectClass.objects.create(project=project, index=index, name=name, guide=f"Where a {name} ends.")
    return project


@pytest.fixture
def campaign(project) -> Campaign:
    return create_campaign(
        project, name="first", recipe_name="supervised", budget=60, first_batch=3, batch=3, max_rounds=3
    )


@pytest.fixture
def anna(db) -> User:
    user = User.objects.create_user("anna@example.org", "anna@example.org", "burnishing-anna")
    Annotator.objects.create(user=user, remote_id=7)
    return user


def truth_of(number: int) -> np.ndarray:
    """One scratch, and a patch on every second image; every fifth is clean."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    if number % 5 == 4:
        return mask
    mask[4 + number % 8 : 7 + number % 8, 5:30] = 1
    if number % 2:
        mask[20:28, 30:44] = 2
    return mask


@pytest.fixture
def truth() -> Callable[[int], np.ndarray]:
    return truth_of


@pytest.fixture
def drawn() -> Callable[..., list[dict[str, Any]]]:
    """Regions as the editor submits them."""
    return lambda mask, origin="manual": task_json.regions(mask, CLASSES, origin=origin)


def add_image(project: Project, number: int) -> Image:
    rng = np.random.default_rng(number)
    grey = np.clip(rng.normal(120, 12, SIZE[::-1]) - 50.0 * (truth_of(number) > 0), 0, 255).astype(np.uint8)
    view, reference = f"views/{project.pk}/{number:03}.png", f"references/{project.pk}/{number:03}.png"
    sha256 = _write(view, lambda file: Picture.fromarray(grey).save(file, "PNG"))
    image = Image.objects.create(
        project=project, scene=Scene.objects.create(project=project, split="train"), name=f"{number:03}.png", sha256=sha256,
        original=view, view=view, view_sha256=sha256, width=SIZE[0], height=SIZE[1], split="train", descriptor=b"",
    )  # fmt: skip
    truth = _write(reference, lambda file: write_index_png(file, truth_of(number)))
    ReferenceMask.objects.create(image=image, path=reference, sha256=truth)
    return image


@pytest.fixture
def ask(project) -> Callable[..., list[Acquisition]]:
    """Open a round that asks about new images; `masks`: what a model predicted for each, where there is a model."""

    def ask(campaign: Campaign, count: int, *, masks: Sequence[np.ndarray] | None = None) -> list[Acquisition]:
        one = Round.objects.create(campaign=campaign, number=campaign.rounds.count(), opened_because="a test")
        acquire = Stage.objects.create(round=one, position=8, kind="acquire", name="acquire", status=Status.DONE)
        Stage.objects.create(round=one, position=9, kind="annotate", name="annotate", status=Status.WAITING)
        first = project.images.count()
        images = [add_image(project, first + n) for n in range(count)]
        predictions = _predictions(one, images, masks) if masks else [None] * count
        return [
            Acquisition.objects.create(
                campaign=campaign, stage=acquire, image=image, purpose=Purpose.RANDOM, rank=rank, reason="a test",
                prediction=prediction,
            )
            for rank, (image, prediction) in enumerate(zip(images, predictions, strict=True))
        ]  # fmt: skip

    return ask


@pytest.fixture
def predict_again() -> Callable[..., None]:
    """A later round predicts these images, all with this mask, and has asked what it had to ask."""

    def predict_again(campaign: Campaign, images: Sequence[Image], mask: np.ndarray) -> None:
        one = Round.objects.create(campaign=campaign, number=campaign.rounds.count(), opened_because="a test")
        _predictions(one, images, [mask] * len(images))
        Stage.objects.create(round=one, position=8, kind="acquire", name="acquire", status=Status.DONE)

    return predict_again


@pytest.fixture
def asked(campaign, ask, remote) -> list[Acquisition]:
    """Three images in people's hands."""
    acquisitions = ask(campaign, 3)
    outbox.push(campaign)
    return acquisitions


def _predictions(one: Round, images: list[Image], masks: Sequence[np.ndarray]) -> list[Prediction]:
    project = one.campaign.project
    train = Stage.objects.create(round=one, position=0, kind="train", name="train", status=Status.DONE)
    predict = Stage.objects.create(round=one, position=1, kind="predict", name="predict", status=Status.DONE)
    model = ModelVersion.objects.create(
        project=project, stage=train, number=project.models.count() + 1, network="unet", parameters=1, path="-", sha256="-",
        image_passes=1, seconds=1,
    )  # fmt: skip
    shard = f"stages/{predict.pk}/attempt-1/masks.zip"
    sha256 = _write(shard, lambda file: _zip(file, {f"{n}.png": mask for n, mask in enumerate(masks)}))
    StageFile.objects.create(stage=predict, name="masks.zip", path=shard, sha256=sha256, size=1)
    return [
        Prediction.objects.create(
            stage=predict, model=model, image=image, member=f"{n}.png", uncertainty=0.5, confidence=0.5
        )
        for n, image in enumerate(images)
    ]  # fmt: skip


def _zip(file: io.BytesIO, masks: dict[str, np.ndarray]) -> None:
    with ZipFile(file, "w") as archive:
        for name, mask in masks.items():
            content = io.BytesIO()
            write_index_png(content, mask)
            archive.writestr(name, content.getvalue())


def _write(path: str, write: Callable[[io.BytesIO], None]) -> str:
    content = io.BytesIO()
    write(content)
    return files.write_once(path, content.getvalue())
