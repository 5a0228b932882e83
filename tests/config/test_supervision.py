"""A real supervisor, with small programs in place of ours."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import processes, supervision
from config.supervision import NotStarted, Program

# Its child goes on when it is killed, as nginx's and granian's workers do.
WITH_CHILD = "import os; os.fork()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def python(code: str = "pass", **how) -> Program:
    """A program that does this, says so, and then waits."""
    waits = f"{code}; import time; print('ready', flush=True); time.sleep(600)"
    return Program("one", [sys.executable, "-c", waits], ready=lambda: "ready" in log(), **how)


def log() -> str:
    return (supervision.settings.LOG_DIR / "one.log").read_text()


@pytest.fixture(autouse=True)
def _places(settings, tmp_path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="burnish-socket-") as sockets:  # tmp_path is too long a name for a socket
        settings.STATE_DIR, settings.SOCKET_DIR, settings.LOG_DIR = tmp_path, Path(sockets), tmp_path / "logs"
        settings.LOG_DIR.mkdir()
        yield
        supervision.shut_down(last=())


def soon(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def runs_again(killed: int) -> bool:
    now = supervision.states()["one"]
    return now.running and now.pid != killed


def run(program: Program) -> int:
    """Start it and the supervisor; its process number."""
    supervision.start_daemon([program])
    supervision.start(program)
    supervision.wait_until_ready(program)
    return supervision.states()[program.name].pid


def test_a_program_that_dies_is_started_again():
    first = run(python())

    os.kill(first, signal.SIGKILL)

    assert soon(lambda: runs_again(first))


def test_a_second_start_of_a_running_program_is_harmless():
    program = python()
    run(program)

    assert not supervision.start(program)


def test_a_program_that_cannot_start_is_reported_with_the_end_of_its_log():
    program = python("raise SystemExit('the port is taken')")
    supervision.start_daemon([program])
    supervision.start(program)

    with pytest.raises(NotStarted, match="the port is taken"):
        supervision.wait_until_ready(program)


def test_a_program_that_never_answers_is_reported(monkeypatch):
    monkeypatch.setattr(supervision, "PATIENCE_SECONDS", 2)
    program = Program("one", ["/bin/sleep", "600"], ready=lambda: False)
    supervision.start_daemon([program])
    supervision.start(program)

    with pytest.raises(NotStarted, match="it is RUNNING"):
        supervision.wait_until_ready(program)


def test_stopping_leaves_no_process():
    family = processes.with_descendants(run(python()))

    killed = supervision.shut_down(last=())

    assert killed == []
    assert supervision.daemon_pid() is None
    assert not any(process.alive for process in family)


def test_a_child_its_program_left_behind_is_killed_and_named():
    family = processes.with_descendants(run(python(WITH_CHILD)))

    killed = supervision.shut_down(last=())

    assert len(family) == 2
    assert len(killed) == 1
    assert not any(process.alive for process in family)


def test_a_program_deaf_to_its_stop_signal_is_killed():
    pid = run(python(DEAF))

    killed = supervision.shut_down(last=(), seconds=1)

    assert any(DEAF in command for command in killed)
    assert processes.read(pid) is None


def test_nothing_outlives_a_killed_supervisor():
    pid = run(python())

    os.kill(supervision.daemon_pid(), signal.SIGKILL)

    assert soon(lambda: processes.read(pid) is None)


def test_the_children_of_a_killed_program_end_before_it_starts_again():
    first = run(python(WITH_CHILD))
    [_, child] = processes.with_descendants(first)

    os.kill(first, signal.SIGKILL)

    assert soon(lambda: not child.alive)
    assert soon(lambda: runs_again(first))


def test_a_program_sees_just_the_environment_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSWORD", "of the shell")
    said, variables = tmp_path / "said", tmp_path / "variables.json"
    code = f"import os, pathlib; pathlib.Path({str(said)!r}).write_text(str(dict(os.environ)))"

    run(python(code, environment=variables, files={variables: '{"GIVEN": "yes"}'}))

    assert "GIVEN" in said.read_text()
    assert "PASSWORD" not in said.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_program_gives_up_the_rights_of_root():
    pid = run(Program("one", ["/bin/sleep", "600"], user="nobody"))

    status = Path(f"/proc/{pid}/status").read_text()

    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "Groups:\t \n" in status


def test_files_that_programs_read_are_for_our_eyes_only(tmp_path):
    path = tmp_path / "one" / "secret.json"
    run(python(files={path: "a secret"}))

    assert path.stat().st_mode & 0o777 == 0o600


def test_other_settings_than_those_it_was_started_with_are_noticed():
    program = python()
    run(program)

    assert supervision.is_configured([program])
    assert not supervision.is_configured([python("import os")])
