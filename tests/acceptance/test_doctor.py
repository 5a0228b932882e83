"""Every fault of a running installation that the doctor knows, made and told; one stack serves them all."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import httpx
import kombu.pools
import pytest
from django.conf import settings
from django.utils import timezone

from catalog.models import Project
from config import celery_app, health, programs, services, supervision
from config.doctor import Finding, Mark
from labelling import health as labelling_health
from labelling import tasks
from labelling.models import LabellingProject, RemoteAnnotation, Task
from rounds.models import Stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
HOUR = timedelta(hours=1)


def told(check: Callable[[], Iterator[Finding]], mark: Mark = Mark.BROKEN) -> str:
    """The findings of a mark, a line each."""
    return "\n".join(f"{one.part}: {one.says}" for one in check() if one.mark is mark)


def forget_connections() -> None:
    """Those to a broker that has ended. Celery keeps them, and a command that people start has none yet."""
    kombu.pools.reset()
    celery_app._pool = celery_app.amqp._producer_pool = None


@pytest.fixture
def paused(on_the_stack):
    """Keeps programs of the stack stopped for the length of a block."""

    forget_connections()

    @contextlib.contextmanager
    def pause(*names: str) -> Iterator[None]:
        for name in names:
            supervision.server().stopProcess(name)
        try:
            yield
        finally:
            everything = [*programs.stores(), *programs.servers()]
            services.run([program for program in everything if program.name in names], lambda _: None)
            forget_connections()
            services.wait_for(everything)  # workers find their queue again

    return pause


@pytest.fixture
def asked(stack, surfaces, begin, wait_for):
    """A campaign of a project of its own, where nobody has labelled anything yet, with three questions at people."""
    name = f"Untouched {time.time_ns()}"
    stack.manage("import_images", name, str(surfaces), "--benchmark")
    campaign = begin(
        project=Project.objects.get(name=name), scripted=False, recipe_name="supervised", first_batch=3, batch=2
    )
    wait_for(lambda: Task.objects.filter(project__campaign=campaign).count() == 3, why="round 0's questions")
    return campaign


def test_a_healthy_installation_is_told_so(stack):
    done = stack.manage("doctor", check=False)

    assert done.returncode == 0, done.stdout
    for part in (
        "postgres",
        "proxy",
        "database",
        "queue",
        "workers",
        "clock",
        "filter",
        "files",
        "rounds",
        "Label Studio",
    ):
        assert f"✓ {part}: " in done.stdout


def test_a_proxy_that_crashed_is_told_with_its_log(stack, paused):
    with paused("proxy"):
        done = stack.manage("doctor", check=False)

    assert done.returncode == 1
    assert "✗ proxy: is STOPPED" in done.stdout
    assert f"{settings.LOG_DIR}/proxy.log says why; then: make up" in done.stdout
    assert "✓ web: answers" in done.stdout


def test_a_program_that_runs_and_does_not_answer_is_told(on_the_stack):
    group = os.getpgid(supervision.states()["web"].pid)
    os.killpg(group, signal.SIGSTOP)
    try:
        said = told(health.stack)
    finally:
        os.killpg(group, signal.SIGCONT)

    assert said == "web: runs and does not answer."


def test_a_stack_with_other_settings_is_told(stack, settings):
    settings.TIME_ZONE, settings.HOST = "UTC", "0.0.0.0"

    assert "stack: runs with other settings than those given now." in told(health.stack, Mark.DOUBTFUL)


def test_a_database_that_went_away_is_told(on_the_stack, paused):
    with paused("postgres"):
        assert "database: The database burnish does not answer" in told(health.database)
        assert "The database label_studio does not answer" in told(health.their_database)
        assert "postgres: is STOPPED" in told(health.stack)


def test_a_queue_that_went_away_is_told(on_the_stack, paused):
    with paused("valkey"):
        assert "queue: does not answer" in told(health.queue)


def test_a_queue_that_nobody_listens_on_and_its_rings_are_told(on_the_stack, paused, monkeypatch):
    monkeypatch.setattr(health, "MANY_RINGS", 3)
    with paused("worker-gpu"):
        for _ in range(4):
            celery_app.send_task("rounds.tasks.run_training_stage", (0,), expires=60)
        assert told(health.workers) == "workers: nobody listens on the queue gpu: its stages wait."
        assert "queue: 4 rings wait in gpu" in told(health.queue, Mark.DOUBTFUL)


def test_a_beat_that_rings_no_more_is_told(stack):
    log = programs.beat().log
    assert not told(health.clock)

    os.utime(log, times=(0, log.stat().st_mtime - 3600))
    said = told(health.clock)
    os.utime(log)  # others ask the doctor too

    assert "clock: beat has rung nothing for 36" in said


def test_an_address_that_leads_past_the_proxy_is_told(stack, settings):
    assert not told(health.filter_)

    settings.LABEL_STUDIO_PUBLIC_URL = settings.LABEL_STUDIO_URL

    assert "leads past the proxy" in told(health.filter_)


def test_an_address_where_nobody_answers_is_told(stack, settings):
    settings.LABEL_STUDIO_PUBLIC_URL = "http://127.0.0.1:9"

    assert "nobody answers at http://127.0.0.1:9" in told(health.filter_)


def test_a_token_that_label_studio_refuses_is_told(stack, settings):
    settings.LABEL_STUDIO_TOKEN = "0" * 40

    assert "HTTP 401" in told(labelling_health.account)


def test_a_label_studio_of_another_version_is_told(stack, monkeypatch):
    monkeypatch.setattr(labelling_health, "TESTED", "0.9.")

    assert "answers, 0.9.x is tested." in told(labelling_health.account, Mark.DOUBTFUL)


def test_what_people_changed_or_lost_in_label_studio_is_told(asked, paused):
    sent = Task.objects.filter(project__campaign=asked)
    project = LabellingProject.objects.get(campaign=asked)
    assert not told(labelling_health.projects)
    headers = {"Authorization": f"Token {settings.LABEL_STUDIO_TOKEN}"}

    # Without the minute's poll: it would note some of it between two looks.
    with (
        paused("worker-default"),
        httpx.Client(base_url=settings.LABEL_STUDIO_URL, headers=headers, timeout=60) as client,
    ):
        [hook] = client.get("/api/webhooks/", params={"project": project.remote_id}).json()
        client.delete(f"/api/webhooks/{hook['id']}/").raise_for_status()
        assert "does not ring us" in told(labelling_health.projects, Mark.DOUBTFUL)

        [folder] = client.get("/api/storages/localfiles", params={"project": project.remote_id}).json()
        client.delete(f"/api/storages/localfiles/{folder['id']}").raise_for_status()
        assert "may not show the images" in told(labelling_health.projects)

        client.patch(f"/api/projects/{project.remote_id}", json={"sampling": "Sequential sampling"}).raise_for_status()
        assert "another order or without masks (Sequential sampling, Burnish)" in told(labelling_health.projects)

        [first, second, _] = sent.order_by("pk")
        [prediction] = client.get("/api/predictions", params={"task": first.remote_id}).json()
        client.delete(f"/api/predictions/{prediction['id']}").raise_for_status()
        assert "has lost what was drawn for people in 1 tasks" in told(labelling_health.projects)

        client.delete(f"/api/tasks/{second.remote_id}").raise_for_status()
        assert "Label Studio has 2 of 3 tasks" in told(labelling_health.projects)
        tasks.poll(project.pk)
        assert "1 questions were deleted in Label Studio before" in told(labelling_health.projects, Mark.DOUBTFUL)

        client.delete(f"/api/projects/{project.remote_id}").raise_for_status()
        assert "HTTP 404" in told(labelling_health.projects)


def test_questions_and_answers_that_do_not_move_are_told(asked, paused):
    sent = Task.objects.filter(project__campaign=asked)
    project = LabellingProject.objects.filter(campaign=asked)

    with paused("worker-default", "beat"):
        project.update(polled_at=timezone.now() - HOUR, error="Label Studio refused to import 3 tasks")
        said = told(labelling_health.projects)
        assert "nobody has looked for answers since" in said
        assert "Label Studio refused to import 3 tasks" in said

        problem = "user 7 of Label Studio has no login in Burnish."
        RemoteAnnotation.objects.create(task=sent[0], remote_id=900_000, updated_at=timezone.now(), problem=problem)
        assert f"annotation 900000 cannot be read: {problem}" in told(labelling_health.projects, Mark.DOUBTFUL)

        RemoteAnnotation.objects.filter(remote_id=900_000).delete()
        Stage.objects.filter(round__campaign=asked, kind="acquire").update(finished_at=timezone.now() - HOUR)
        sent[0].delete()
        assert "1 questions wait to be sent" in told(labelling_health.projects)
