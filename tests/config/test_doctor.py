"""What needs no running stack. Faults of running programs: tests/acceptance/test_doctor.py."""

import json
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.db.migrations.recorder import MigrationRecorder

from config import credentials, doctor, health, postgres, services
from config.doctor import Check, Mark, broken, fine
from config.environment import ROOT, Environment

SICK = (
    Check("one", lambda: [broken("one", "is broken.", "Mend it.")]),
    Check("two", lambda: [fine("two", "works.")], needs=("one",)),
    Check("three", lambda: [fine("three", "works.")], needs=("two",)),
    Check("four", lambda: [fine("four", "works.")]),
)


def run_doctor(environment, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", *arguments], cwd=ROOT, env=environment,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def only(settings, monkeypatch):
    """Lets the doctor make these checks and no other."""

    def choose(*checks: Check) -> None:
        settings.DOCTOR_CHECKS = ["these"]
        monkeypatch.setattr(doctor, "import_string", lambda _: checks)

    return choose


def test_what_hangs_on_a_broken_part_is_not_looked_at(only):
    only(*SICK)

    assert [str(one) for one in doctor.examine()] == [
        "✗ one: is broken. Mend it.",
        "✓ four: works.",
        "! the rest: not looked at: two, three. Mend the above, then ask again.",
    ]


def test_a_part_that_falls_over_while_it_is_looked_at_is_told(only):
    only(Check("one", lambda: 1 / 0))

    [found] = doctor.examine()

    assert (found.mark, found.says) == (Mark.BROKEN, "could not be looked at: ZeroDivisionError: division by zero")


def test_a_stack_that_is_down_is_told_with_how_to_start_it(elsewhere):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(elsewhere["BURNISH_PORT"])))
        taken.listen()
        done = run_doctor(elsewhere)

    assert done.returncode == 1
    assert "✗ stack: is down. Start it: make up" in done.stdout
    assert "✗ database: The database burnish does not answer" in done.stdout
    assert "✗ queue: does not answer" in done.stdout
    assert f"✗ port: Port {elsewhere['BURNISH_PORT']} is in use by" in done.stdout
    assert "! the rest: not looked at: " in done.stdout


def test_programs_get_the_findings_as_json(elsewhere):
    done = run_doctor(elsewhere, "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["healthy"] is False
    assert {"mark": "broken", "part": "stack", "says": "is down.", "mend": "Start it: make up"} in told["findings"]


def marks(check) -> list[tuple[Mark, str]]:
    return [(one.mark, one.says) for one in check()]


def test_impossible_settings_are_told(settings):
    settings.PORT = settings.LABEL_STUDIO_PORT
    settings.PUBLIC_URL = "https://localhost"

    found = {one.mark for one in health.installation()}

    assert found == {Mark.BROKEN, Mark.DOUBTFUL}


@pytest.mark.parametrize(("free", "mark"), [(1 << 20, Mark.BROKEN), (2 << 30, Mark.DOUBTFUL), (9 << 30, Mark.FINE)])
def test_a_disk_is_told_before_it_is_full(monkeypatch, free, mark):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    assert [found for found, _ in marks(health.disk)] == [mark]


def test_a_machine_that_is_ready_is_not_spoken_of():
    assert list(health.machine()) == []


def test_a_label_studio_that_is_not_installed_is_told(settings):
    settings.ENV = Environment({**settings.ENV.values, "BURNISH_LABEL_STUDIO_VENV": "/nowhere"})

    [(mark, says)] = marks(health.machine)

    assert (mark, "is not installed in /nowhere" in says) == (Mark.BROKEN, True)


def test_a_postgresql_that_went_away_is_told(monkeypatch):
    monkeypatch.setattr(postgres, "candidates", lambda: iter(()))

    [found] = health.machine()

    assert (found.part, found.says) == ("postgres", "its programs are gone from this machine.")


def test_a_restore_that_was_killed_is_told(settings, tmp_path):
    settings.STATE_DIR = tmp_path
    credentials.write_private(services.half_restored(), "[]")
    tmp_path.chmod(0o755)

    assert (Mark.BROKEN, "a restore was killed half way.") in marks(health.machine)


@pytest.mark.django_db
def test_a_database_without_its_migrations_is_told():
    assert [mark for mark, _ in marks(health.database)] == [Mark.FINE]

    MigrationRecorder.Migration.objects.filter(app="labelling").delete()

    mark, says = marks(health.database)[1]
    assert mark is Mark.BROKEN
    assert says.endswith("migrations are missing, labelling.0001_initial first.")


@pytest.mark.django_db
def test_a_server_that_is_too_old_is_told(monkeypatch):
    monkeypatch.setattr(postgres, "LEAST", 99)

    [(mark, says)] = marks(health.database)

    assert (mark, "expected 99 or newer" in says) == (Mark.BROKEN, True)


def test_a_label_studio_database_that_does_not_answer_is_told(settings):
    settings.LABEL_STUDIO_DATABASE_URL = "postgres://label_studio@127.0.0.1:9/label_studio"

    [(mark, says)] = marks(health.their_database)

    assert (mark, "label_studio does not answer" in says) == (Mark.BROKEN, True)


def test_an_installation_without_a_proxy_is_told(settings, tmp_path):
    settings.NO_PROXY_NOTE = tmp_path / "no-proxy.txt"
    settings.NO_PROXY_NOTE.write_text("Label Studio is open")

    assert marks(health.filter_) == [(Mark.DOUBTFUL, "Label Studio is open")]
