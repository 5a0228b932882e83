"""`manage.py up`, `status` and `down` as a user runs them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from config import processes, supervision
from config.environment import ROOT, read_env_file

pytestmark = pytest.mark.acceptance


def manage(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def left_of(environment: dict[str, str]) -> list[str]:
    return [one.command for one in processes.everyone() if environment["BURNISH_STATE"] in one.command]


def test_a_second_up_is_harmless(stack):
    before = supervision.states()

    done = stack.manage("up")

    assert "up already" in done.stdout
    assert {one.pid for one in supervision.states().values()} == {one.pid for one in before.values()}


def test_up_with_other_settings_asks_for_a_stop_first(stack, monkeypatch):
    monkeypatch.setenv("BURNISH_PORT", "18999")

    done = stack.manage("up", check=False)

    assert done.returncode == 1
    assert "make down" in done.stderr


def test_status_shows_what_runs_and_where(stack):
    done = stack.manage("status")

    assert done.stdout.count("RUNNING") == len(supervision.states())
    assert stack.url in done.stdout
    assert stack.public_label_studio_url in done.stdout


def test_the_administrator_can_log_in_to_both(on_the_stack, label_studio):
    login = {"email": label_studio.admin_email, "password": label_studio.admin_password}
    with httpx.Client(base_url=label_studio.public_url, follow_redirects=True) as browser:
        browser.get("/user/login/")
        browser.post("/user/login/", data={**login, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        me = browser.get("/api/current-user/whoami").json()

    assert me["email"] == label_studio.admin_email
    assert User.objects.get(username=label_studio.admin_email).check_password(label_studio.admin_password)


def test_a_token_opens_label_studio_itself_and_nothing_at_the_proxy(label_studio):
    headers = {"Authorization": f"Token {label_studio.token}"}

    assert httpx.get(f"{label_studio.url}/api/projects", headers=headers).status_code == 200
    assert httpx.get(f"{label_studio.public_url}/api/projects", headers=headers).status_code == 401


def test_production_settings_pass_the_deployment_checks(stack, monkeypatch):
    monkeypatch.setenv("BURNISH_PUBLIC_URL", "https://burnish.factory.example")
    monkeypatch.setenv("BURNISH_LABEL_STUDIO_PUBLIC_URL", "https://labels.factory.example")
    monkeypatch.setenv("BURNISH_ALLOWED_HOSTS", "burnish.factory.example,labels.factory.example")

    done = stack.manage("check", "--deploy", "--fail-level", "WARNING", check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_without_its_database_says_so(elsewhere):
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=elsewhere, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("The database does not answer: ")
    assert "Traceback" not in done.stderr


def test_no_secret_stands_in_a_log(stack, label_studio):
    """Whatever the tests before this one made the services write."""
    with httpx.Client(base_url=stack.url, follow_redirects=True, timeout=60) as browser:
        browser.get("/admin/login/")
        login = {"username": settings.ADMIN_EMAIL, "password": settings.ADMIN_PASSWORD}
        browser.post("/admin/login/", data={**login, "csrfmiddlewaretoken": browser.cookies["burnish_csrf"]})
    secrets = read_env_file(settings.STATE_DIR / "secrets.env")
    hidden = {name: value for name, value in secrets.items() if len(value) > 8 and "@" not in value}
    logs = {path.name: path.read_text(errors="replace") for path in Path(settings.LOG_DIR).iterdir()}

    assert {"BURNISH_SECRET_KEY", "BURNISH_LABEL_STUDIO_TOKEN", "BURNISH_WEBHOOK_SECRET"} <= hidden.keys()
    assert {"web.log", "label-studio.log", "worker-default.log"} <= logs.keys()
    assert not [(name, log) for name, value in hidden.items() for log, text in logs.items() if value in text]


def test_a_stack_that_lost_its_database_and_queue_goes_on_when_they_are_back(stack):
    for name in ("postgres", "valkey"):
        os.kill(supervision.states()[name].pid, signal.SIGKILL)

    stack.manage("up")

    assert httpx.get(f"{stack.url}/health/").status_code == 200


def test_a_taken_port_leaves_nothing_half_done(elsewhere):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(elsewhere["BURNISH_PORT"])))
        other.listen()

        up = manage(elsewhere, "up")
        said, _ = up.communicate(timeout=60)

    assert up.returncode == 1
    assert f"Port {elsewhere['BURNISH_PORT']} is in use by process {os.getpid()}" in said
    assert left_of(elsewhere) == []
    assert not (Path(elsewhere["BURNISH_STATE"]) / "postgres").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_stops_what_it_started(elsewhere, how):
    up = manage(elsewhere, "up")
    for line in up.stdout:
        if "postgres started" in line:
            up.send_signal(how)
            break

    said, _ = up.communicate(timeout=60)

    assert up.returncode == 1
    assert "what was started is stopped again" in said
    assert left_of(elsewhere) == []


def test_down_where_nothing_runs_is_harmless(elsewhere):
    down = manage(elsewhere, "down")
    said, _ = down.communicate(timeout=60)

    assert (down.returncode, said.strip()) == (0, "Nothing is running.")
