"""A backup made while a round runs, and what comes back of it on another machine: nothing faked."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from config import archive, databases, postgres
from config.environment import ROOT, read_env_file, socket_dir
from labelling.models import LabellingProject, Task
from rounds.models import Stage, Status

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
LONG = {
    "network": {"name": "half_unet", "channels": 1, "width": 8}, "crop": 64, "steps": 20_000, "optimiser": "adamw",
    "learning_rate": 0.003,
}  # fmt: skip


def run(environment, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """A command of an installation, to its end."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**environment, "PYTHONPATH": ".:platform"},
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def manage(environment, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return run(environment, "manage.py", *arguments, check=check)


START_STORES = "import django; django.setup(); from config import services; services.start_stores(print)"


def test_what_was_backed_up_while_a_round_ran_comes_back_whole(stack, begin, wait_for, elsewhere, tmp_path):
    campaign = begin(scripted=True, recipe_name="supervised", first_batch=6, batch=2, max_rounds=1, overrides=LONG)
    training = Stage.objects.filter(round__campaign=campaign, kind="train", status=Status.RUNNING)
    wait_for(lambda: training.filter(progress__has_key="step").exists(), why="a training under way")
    packed, state = tmp_path / "one.tar", Path(elsewhere["BURNISH_STATE"])

    stack.manage("backup", str(packed))
    assert training.exists()  # it was made in the middle
    manage(elsewhere, "restore", str(packed))
    run(elsewhere, "-c", START_STORES)

    assert (state / "secrets.env").stat().st_mode & 0o777 == 0o600
    assert read_env_file(state / "secrets.env").items() >= read_env_file(settings.STATE_DIR / "secrets.env").items()
    assert_files_are_as_packed(packed, state)
    assert_rows_are_as_packed(packed, elsewhere, tmp_path)
    manage(elsewhere, "up")
    assert_both_know_the_administrator(elsewhere)
    assert_label_studio_shows_the_tasks(campaign, elsewhere)


def assert_files_are_as_packed(packed, state) -> None:
    with archive.reading(packed) as found:
        sums = {name: digest for name, digest in found.sums.items() if name.startswith("data/")}
    there = {path.relative_to(state).as_posix() for path in (state / "data").rglob("*") if path.is_file()}
    assert len(sums) > 100
    assert there == set(sums)
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet"], cwd=state, text=True, check=False, capture_output=True,
        input="".join(f"{digest}  {name}\n" for name, digest in sums.items()),
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def assert_rows_are_as_packed(packed, elsewhere, tmp_path) -> None:
    """Every row of both databases, but for the addresses of the place."""
    with archive.reading(packed) as found:
        for name in ("burnish", "label_studio"):
            found.unpack(f"databases/{name}.dump", tmp_path)
    for database in databases.both():
        dumped = tmp_path / "databases" / f"{database.name}.dump"
        as_packed = text_of("pg_restore", "--data-only", "--file=-", str(dumped))
        host = str(socket_dir(Path(elsewhere["BURNISH_STATE"])))
        restored = text_of("pg_dump", "--data-only", "--host", host, "--username", database.name, database.name)
        moved = {
            str(settings.STATE_DIR): elsewhere["BURNISH_STATE"],
            f"127.0.0.1:{settings.PORT}/": f"127.0.0.1:{elsewhere['BURNISH_PORT']}/",
        }
        for old, new in moved.items():
            as_packed = as_packed.replace(old, new)
        assert len(rows(restored)) > 100
        assert rows(restored) == rows(as_packed)


def text_of(program: str, *arguments: str) -> str:
    least = databases.version(databases.ours())
    return subprocess.run(
        [databases.client(program, least=least), *arguments], capture_output=True, text=True, check=True
    ).stdout


def rows(text: str) -> Counter[str]:
    """The lines of a dump that say something."""
    return Counter(line for line in text.splitlines() if line and not re.match(r"--|\\|SET ", line))


def assert_both_know_the_administrator(elsewhere) -> None:
    port, labels = elsewhere["BURNISH_PORT"], elsewhere["BURNISH_LABEL_STUDIO_PORT"]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, timeout=60) as browser:
        browser.get("/admin/login/")
        login = {"username": settings.ADMIN_EMAIL, "password": settings.ADMIN_PASSWORD}
        page = browser.post("/admin/login/", data={**login, "csrfmiddlewaretoken": browser.cookies["burnish_csrf"]})
        assert page.status_code == 200
        assert "burnish_session" in browser.cookies
    with httpx.Client(base_url=f"http://127.0.0.1:{labels}", follow_redirects=True, timeout=60) as browser:
        browser.get("/user/login/")
        login = {"email": settings.ADMIN_EMAIL, "password": settings.ADMIN_PASSWORD}
        browser.post("/user/login/", data={**login, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        assert browser.get("/api/current-user/whoami").json()["email"] == settings.ADMIN_EMAIL


def assert_label_studio_shows_the_tasks(campaign, elsewhere) -> None:
    """With the token of the backup; its images come from the folder where they are now."""
    project = LabellingProject.objects.get(campaign=campaign)
    url = f"http://127.0.0.1:{elsewhere['BURNISH_LABEL_STUDIO_INTERNAL_PORT']}"
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Token {settings.LABEL_STUDIO_TOKEN}"}, timeout=60
    ) as client:
        listed = client.get("/api/tasks", params={"project": project.remote_id, "page_size": 100}).json()["tasks"]
        assert {task["id"] for task in listed} == set(
            Task.objects.filter(project=project).values_list("remote_id", flat=True)
        )
        assert [task["total_annotations"] for task in listed] == [1] * 6
        assert client.get(listed[0]["data"]["image"]).headers["content-type"] == "image/png"
        [hook] = client.get("/api/webhooks/", params={"project": project.remote_id}).json()
        assert hook["url"].startswith(f"http://127.0.0.1:{elsewhere['BURNISH_PORT']}/")


@pytest.fixture
def outer(stack, elsewhere):
    """The second installation, told to use databases of a server that is not its own: two empty ones of the stack's."""
    with contextlib.closing(postgres.connect()) as admin, admin.cursor() as cursor:
        for name in ("outer_burnish", "outer_label_studio"):
            cursor.execute(f"CREATE ROLE {name} LOGIN")
            cursor.execute(f"CREATE DATABASE {name} OWNER {name}")
        url = "postgres://{0}@/{0}?host=" + str(settings.SOCKET_DIR)
        yield elsewhere | {
            "DATABASE_URL": url.format("outer_burnish"),
            "BURNISH_LABEL_STUDIO_DATABASE_URL": url.format("outer_label_studio"),
        }
        for name in ("outer_burnish", "outer_label_studio"):
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
            cursor.execute(f"DROP ROLE {name}")


@pytest.fixture(scope="module")
def packed(stack, tmp_path_factory) -> Path:
    """A backup of the stack."""
    path = tmp_path_factory.mktemp("backup") / "one.tar"
    stack.manage("backup", str(path))
    return path


@pytest.mark.parametrize("where", ["elsewhere", "outer"])
def test_a_restore_that_was_killed_half_way_begins_again(packed, request, where):
    environment = request.getfixturevalue(where)
    killed = subprocess.Popen(
        [sys.executable, "manage.py", "restore", str(packed)], cwd=ROOT, env={**environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in killed.stdout:
        if "database burnish" in line:  # the first of two
            break
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    refused = manage(environment, "up", check=False)
    again = manage(environment, "restore", str(packed))
    third = manage(environment, "restore", str(packed), check=False)

    assert (refused.returncode, third.returncode) == (1, 1)
    assert "was killed. Run it again" in refused.stderr
    assert "database label_studio: 82 tables" in again.stdout
    assert "is not empty" in third.stderr
    assert not (Path(environment["BURNISH_STATE"]) / "restore.unfinished").exists()


def test_a_restore_that_fails_leaves_the_folder_empty(packed, elsewhere, tmp_path):
    damaged, state = tmp_path / "damaged.tar", Path(elsewhere["BURNISH_STATE"])
    content = packed.read_bytes()
    at = content.index(b"PGDMP") + 5000  # in the first dump
    damaged.write_bytes(content[:at] + b"burnish" + content[at + 7 :])

    failed = manage(elsewhere, "restore", str(damaged), check=False)

    assert failed.returncode == 1
    assert "databases/burnish.dump is damaged" in failed.stderr
    assert [path.name for path in state.iterdir()] == ["stack.lock"]


def test_a_restore_overwrites_nothing(stack, packed):
    refused = stack.manage("restore", str(packed), check=False)

    assert refused.returncode == 1
    assert "is not empty" in refused.stderr
    assert httpx.get(f"{stack.url}/health/").status_code == 200  # and stops nothing
