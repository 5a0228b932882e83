"""Twenty people label while a training and an import run: how long does Submit take, and does every label come home?

The figures in docs/results/storm.md are printed here (`pytest -s`).
"""

import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings

from annotation import task_json
from annotation.browser import Browser
from annotation.masks import read_index_mask
from catalog import files
from catalog.models import Image, Project
from labelling import outbox, people
from labelling.models import Annotator, RemoteAnnotation, Task
from ml.synthetic import generate
from rounds.models import Stage, Status

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

PEOPLE, EACH = 20, 2  # fewer than the training scenes of the surfaces
LOOKING = (3.0, 7.0)  # seconds at a picture: faster than people are
PATIENCE = 10.0  # seconds, with the other half of the suite beside it; what it is without: docs/results/storm.md
TRAINING = {"network": {"name": "half_unet", "channels": 1, "width": 8}, "crop": 64, "steps": 20_000, "batch": 4}


@pytest.fixture(scope="session")
def more_surfaces(tmp_path_factory):
    """Two hundred generated surfaces of 64 pixels."""
    folder = tmp_path_factory.mktemp("more")
    generate(folder, images=200, size=64, seed=2)
    return folder


@pytest.fixture
def crowd(stack, on_the_stack) -> list[tuple[str, str]]:
    """Logins of as many people."""
    logins = [(f"person-{number}@burnish.example", f"surface-{number}-inspector") for number in range(PEOPLE)]
    for login in logins:
        people.add_annotator(*login)
    return logins


def label(login: tuple[str, str], queue: int, truth: dict[int, list]) -> list[float]:
    """What a person does: take the next task, draw what is there, submit. The seconds each Submit took."""
    took = []
    with Browser(settings.LABEL_STUDIO_PUBLIC_URL, *login) as browser:
        while len(took) < EACH and (task := browser.next_task(queue)):
            time.sleep(random.uniform(*LOOKING))
            before = time.perf_counter()
            browser.submit(task, truth[task["data"]["acquisition"]], lead_time=10)
            took.append(time.perf_counter() - before)
    return took


def test_twenty_people_submit_while_a_training_and_an_import_run(stack, begin, crowd, more_surfaces, wait_for):
    stack.manage("import_images", "Crowd", str(more_surfaces), "--benchmark")
    project = Project.objects.get(name="Crowd")
    asked = begin(project=project, recipe_name="supervised", first_batch=PEOPLE * EACH, batch=4)
    tasks = Task.objects.filter(project__campaign=asked)
    wait_for(lambda: tasks.count() == PEOPLE * EACH, why="the tasks in Label Studio")
    computing = begin(scripted=True, label_trigger=4, recipe_name="supervised", overrides=TRAINING)
    training = Stage.objects.filter(round__campaign=computing, kind="train", status=Status.RUNNING)
    wait_for(training.exists, why="the training beside it")
    truth = {task.acquisition_id: drawn(task.acquisition.image, project) for task in tasks}
    queue = outbox.number(asked.labelling_project)

    with ThreadPoolExecutor(PEOPLE + 1) as threads:
        importing = threads.submit(stack.manage, "import_images", "Crowd again", str(more_surfaces))
        took = sorted(second for one in threads.map(lambda who: label(who, queue, truth), crowd) for second in one)
        importing.result()

    assert training.exists(), "the training ended before the people did: make it longer"
    assert len(took) == PEOPLE * EACH
    p50, p95 = statistics.median(took), took[int(0.95 * len(took))]
    print(f"\n{len(took)} submits of {PEOPLE} people: p50 {p50:.2f} s, p95 {p95:.2f} s, slowest {took[-1]:.2f} s")
    wait_for(lambda: asked.labels().count() == PEOPLE * EACH, why="every label")
    home = RemoteAnnotation.objects.filter(task__project__campaign=asked)
    assert home.count() == asked.labels().values("image").distinct().count() == PEOPLE * EACH
    assert Annotator.objects.filter(user__username__startswith="person-").count() == PEOPLE
    assert p95 < PATIENCE


def drawn(image: Image, project: Project) -> list:
    """The regions a person would draw."""
    classes = project.class_names()
    mask = read_index_mask(files.absolute(image.reference.path), len(classes), (image.width, image.height))
    return task_json.regions(mask, classes, origin="manual")
