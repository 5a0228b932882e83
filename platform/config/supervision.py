"""The keeper of the stack's processes: one supervisord per state folder, spoken to over a unix socket."""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from django.conf import settings
from supervisor.xmlrpc import Faults, SupervisorTransport

from config import launch, processes
from config.credentials import write_private
from config.environment import ROOT

STOP_SECONDS = 20  # for a program, then SIGKILL
GRACE_SECONDS = 3  # for what is left when the supervisor is gone, a training whose worker has ended for one
PATIENCE_SECONDS = 90  # for a program to answer, on a busy machine


class NotStarted(RuntimeError):
    """A program does not run; the message says which, why, and where its log is."""


@dataclass(frozen=True)
class Program:
    """One supervised process. Programs are stopped in reverse order of the stack's list."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool] = lambda: True  # whether it answers; beside that it must stay up
    stop_signal: str = "TERM"
    orphan_signal: str = ""  # what it gets when the supervisor is gone: the stop signal, unless that could hang
    user: str = ""  # to become, where root starts it
    directory: Path = ROOT
    folder: Path | None = None  # its own, made before it starts
    environment: Path | None = None  # a JSON object among its files: all the variables it gets to see
    files: Mapping[Path, str] = field(default_factory=dict)  # written before it starts, for our eyes only

    @property
    def log(self) -> Path:
        return Path(settings.LOG_DIR) / f"{self.name}.log"


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor says of a program."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL ...
    pid: int
    description: str

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"


def folder() -> Path:
    return Path(settings.STATE_DIR) / "supervisor"


def config_file() -> Path:
    return folder() / "supervisord.conf"


def socket_path() -> Path:
    return Path(settings.SOCKET_DIR) / "supervisor.sock"


# --- configuration ----------------------------------------------------------------------------------------------------


def configuration(programs: Sequence[Program]) -> str:
    """The text of supervisord.conf. Nothing starts by itself: the order and the waiting are ours."""
    who = "user=root\n" if os.geteuid() == 0 else ""
    head = f"""\
[unix_http_server]
file={quoted(socket_path())}
chmod=0700

[supervisord]
{who}logfile={quoted(Path(settings.LOG_DIR) / "supervisord.log")}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={quoted(folder() / "supervisord.pid")}
childlogdir={quoted(settings.LOG_DIR)}
silent=true
minfds=1024

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(section(program, order) for order, program in enumerate(programs, start=1))


def section(program: Program, order: int) -> str:
    return f"""
[program:{program.name}]
command={quoted(shlex.join(launch_command(program)))}
directory={quoted(program.directory)}
priority={order}
autostart=false
autorestart=true
startsecs=1
startretries=3
stopsignal={program.stop_signal}
stopwaitsecs={STOP_SECONDS}
killasgroup=true
redirect_stderr=true
stdout_logfile={quoted(program.log)}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def launch_command(program: Program) -> list[str]:
    options = [
        "--signal",
        program.orphan_signal or program.stop_signal,
        "--group-file",
        str(folder() / f"{program.name}.group"),
    ]
    if program.user:
        options += ["--user", program.user]
    if program.environment:
        options += ["--environment", str(program.environment)]
    return [sys.executable, "-I", str(launch.__file__), *options, "--", *program.command]


def quoted(value: object) -> str:
    """Supervisor expands %(names)s in every value."""
    return str(value).replace("%", "%%")


# --- the daemon -------------------------------------------------------------------------------------------------------


def server() -> Any:
    """The supervisor's remote interface; calls raise OSError when it does not run."""
    transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_path()}")
    return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def daemon_pid() -> int | None:
    """The supervisor's process number, None when it does not run."""
    try:
        return int(server().getPID())
    except (OSError, HTTPException):
        return None


def written(programs: Sequence[Program]) -> dict[Path, str]:
    """Every file the supervisor and the programs read."""
    files = {config_file(): configuration(programs)}
    for program in programs:
        files |= program.files
    return files


def is_configured(programs: Sequence[Program]) -> bool:
    """Whether the running supervisor was started for just these programs with just these settings."""
    return all(path.is_file() and path.read_text() == text for path, text in written(programs).items())


def start_daemon(programs: Sequence[Program]) -> None:
    """Start the supervisor, with no program yet.

    Raises:
        NotStarted: it ended at once, with what it said.
    """
    for program in programs:
        if program.folder:
            program.folder.mkdir(parents=True, exist_ok=True)
    for path, text in written(programs).items():
        write_private(path, text)
    said = folder() / "start.log"
    with said.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config_file())],
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in this terminal is for us: we stop the stack in order
        )
    while daemon_pid() is None:
        if child.poll() is not None:
            raise NotStarted(f"The supervisor ended at once. It said: {said.read_text()[-800:].strip()}")
        time.sleep(0.05)


def child_environment() -> dict[str, str]:
    """Ours, with the state folder named and both source roots on the path."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    return {**os.environ, "BURNISH_STATE": str(settings.STATE_DIR), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def states() -> dict[str, ProgramState]:
    """Every program by name; empty when the supervisor does not run."""
    try:
        rows = server().getAllProcessInfo()
    except (OSError, HTTPException, Fault):  # a fault: it is shutting down
        return {}
    return {
        row["name"]: ProgramState(
            name=row["name"], state=row["statename"], pid=row["pid"], description=row["spawnerr"] or row["description"]
        )
        for row in rows
    }


def start(program: Program) -> bool:
    """True when it had to be started, False when it ran already. Whether it stays up is for the caller to see."""
    try:
        server().startProcess(program.name, False)
    except Fault as fault:
        if fault.faultCode == Faults.ALREADY_STARTED:
            return False
        raise NotStarted(f"{program.name} does not start ({fault.faultString}).\n{tail(program.log)}") from fault
    return True


def wait_until_ready(program: Program) -> None:
    """Return once it answers.

    Raises:
        NotStarted: it died, or does not answer in time, with the end of its log.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        state = states()[program.name]
        if state.running and program.ready():
            return
        if state.state in {"FATAL", "EXITED", "STOPPED"} or time.monotonic() > deadline:
            raise NotStarted(f"{program.name} does not answer (it is {state.state}).\n{tail(program.log)}")
        time.sleep(0.1)


def shut_down(last: Collection[str], seconds: float = 90) -> list[str]:
    """Stop everything; what had to be killed, as command lines.

    Args:
        last: programs that the others need while they stop; the others stop side by side.
        seconds: for the supervisor to end.
    """
    pid = daemon_pid()
    if pid is None:
        return []
    family = processes.with_descendants(pid)
    with contextlib.suppress(OSError, HTTPException, Fault):  # it is shutting down already
        for state in states().values():
            if state.pid and state.name not in last:
                server().stopProcess(state.name, False)
        server().shutdown()
    processes.wait_gone(family[:1], seconds)
    left = processes.wait_gone(family, GRACE_SECONDS)  # what the programs themselves left behind
    killed = [process.command for process in left]
    processes.kill(left)
    processes.wait_gone(left, 5)
    return killed


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log, with its name."""
    if not log.is_file():
        return f"There is no log {log}."
    return "\n".join([f"The end of {log}:", *log.read_text(errors="replace").splitlines()[-lines:]])
