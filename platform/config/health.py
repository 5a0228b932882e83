"""The installation as the doctor sees it: settings, machine, programs, databases, queue, clock and proxy."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.checks import CheckMessage
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from config import checks, databases, postgres, preflight, probes, programs, proxy, services, supervision
from config.databases import Database, DatabaseFailed
from config.doctor import Check, Finding, Mark, broken, doubtful, fine
from config.supervision import Program, ProgramState

UP = "Start it: make up"
AGAIN = "Start again: make down up"
AMPLE_BYTES = 5 << 30
QUEUES = ("default", "gpu")
TRIES = 3  # a busy machine may miss one
MANY_RINGS = 1000  # a ring lives for a minute, and the sweep rings once a minute for what is due
SILENT_SECONDS = 180  # beat rings every minute, and says so


def installation() -> Iterator[Finding]:
    messages = checks.installation(None)
    yield from map(_as_finding, messages)
    if not messages:
        yield fine("settings", "possible.")


def _as_finding(message: CheckMessage) -> Finding:
    kind = broken if message.is_serious() else doubtful
    return kind("settings", message.msg, message.hint or "")


def machine() -> Iterator[Finding]:
    complaints = [preflight.linux(), preflight.writable(), preflight.socket_folder()]
    if programs.embeds_postgres():
        complaints.append(preflight.reachable())
    if programs.embeds_label_studio():
        complaints.append(preflight.label_studio_venv())
    yield from (broken("machine", complaint) for complaint in complaints if complaint)
    if programs.embeds_postgres() and postgres.find() is None:
        yield broken("postgres", "its programs are gone from this machine.", "Install them again, or: make up")
    if services.half_restored().exists():
        yield broken("machine", "a restore was killed half way.", "Run it again: manage.py restore FILE")


def disk() -> Iterator[Finding]:
    free = shutil.disk_usage(preflight.nearest_existing(Path(settings.STATE_DIR))).free
    if complaint := preflight.disk():
        yield broken("disk", complaint)
    elif free < AMPLE_BYTES:
        yield doubtful("disk", f"{free / 1e9:.1f} GB are free for {settings.STATE_DIR}.", "Make room.")
    else:
        yield fine("disk", f"{free / 1e9:.0f} GB are free.")


# --- programs ---------------------------------------------------------------------------------------------------------


def stack() -> Iterator[Finding]:
    """Every program: whether it runs, and whether it answers."""
    states = supervision.states()
    expected = [*programs.stores(), *programs.servers()]
    if not states:
        yield from _without_supervisor()
        return
    if not supervision.is_configured(expected):
        yield doubtful("stack", "runs with other settings than those given now.", AGAIN)
    for program in expected:
        yield _look_at(program, states.get(program.name))


def _without_supervisor() -> Iterator[Finding]:
    if probes.page(settings.HOST, settings.PORT, "/health/") and not programs.embeds_postgres():
        yield fine("stack", "is run by somebody else than our supervisor.")  # compose.yaml
        return
    yield broken("stack", "is down.", UP)
    complaints = [preflight.port_free(*one) for one in programs.ports()]
    yield from (broken("port", complaint) for complaint in complaints if complaint)


def _look_at(program: Program, state: ProgramState | None) -> Finding:
    if state is None or not state.running:
        how = f"is {state.state}: {state.description}" if state else "is unknown to the supervisor"
        return broken(program.name, f"{how}.", f"{program.log} says why; then: make up")
    if not any(program.ready() for _ in range(TRIES)):
        return broken(program.name, "runs and does not answer.", f"{program.log} may say why. {AGAIN}")
    return fine(program.name, f"answers ({state.description}).")


# --- what they work on ------------------------------------------------------------------------------------------------


def database() -> Iterator[Finding]:
    server = _look_at_server("database", databases.ours())
    yield server
    if server.mark is Mark.BROKEN:
        return
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield broken("database", f"{len(missing)} migrations are missing, {missing[0][0]} first.", "manage.py prepare")


def their_database() -> Iterator[Finding]:
    if programs.embeds_label_studio() or settings.ENV.text("BURNISH_LABEL_STUDIO_DATABASE_URL", ""):
        yield _look_at_server("Label Studio's database", databases.label_studios())


def _look_at_server(part: str, one: Database) -> Finding:
    try:
        version = databases.version(one)
    except DatabaseFailed as error:
        return broken(part, str(error))
    if version < postgres.LEAST:
        return broken(part, f"PostgreSQL {version}, expected {postgres.LEAST} or newer.", "Update the server.")
    return fine(part, f"PostgreSQL {version}, {databases.size(one) / 1e6:.0f} MB.")


def queue() -> Iterator[Finding]:
    with current_app.connection_for_read() as opened:
        try:
            opened.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        except OperationalError as error:
            yield broken("queue", f"does not answer: {error}", f"{UP}; or correct BURNISH_BROKER_URL.")
            return
        channel: Any = opened.default_channel  # Redis's
        waiting = {name: channel.client.llen(name) for name in QUEUES}
    for name, count in waiting.items():
        if count > MANY_RINGS:
            yield doubtful("queue", f"{count} rings wait in {name}: its workers do not keep up.", "Start more of them.")
    yield fine("queue", f"answers; {sum(waiting.values())} rings wait.")


def workers() -> Iterator[Finding]:
    """Whether somebody listens on each queue, on whichever machine."""
    listening = current_app.control.inspect(timeout=2).active_queues() or {}
    names = {queue["name"] for queues in listening.values() for queue in queues}
    for name in QUEUES:
        if name not in names:
            yield broken("workers", f"nobody listens on the queue {name}: its stages wait.", UP)
    if set(QUEUES) <= names:
        yield fine("workers", f"{', '.join(sorted(listening))} listen.")


def clock() -> Iterator[Finding]:
    """Whether beat ticks: it writes a line for every ring."""
    log = programs.beat().log
    if not log.is_file():
        return  # it runs on another machine
    silent = time.time() - log.stat().st_mtime
    if silent > SILENT_SECONDS:
        yield broken("clock", f"beat has rung nothing for {silent:.0f} s: no sweep, no poll of Label Studio.", AGAIN)
    else:
        yield fine("clock", f"beat rang {silent:.0f} s ago.")


def filter_() -> Iterator[Finding]:
    """Whether the proxy refuses at people's address what annotators have no business with."""
    if warning := proxy.warning():
        yield doubtful("filter", warning)
        return
    address = settings.LABEL_STUDIO_PUBLIC_URL
    status = probes.status(f"{address}/api/webhooks/")
    if status is None:
        yield broken("filter", f"nobody answers at {address}, where annotators go.", UP)
    elif status != 403:
        mend = f"Correct BURNISH_LABEL_STUDIO_PUBLIC_URL, or put the proxy there ({proxy.TEMPLATE.name})."
        yield broken("filter", f"{address} leads past the proxy: every annotator may delete every project.", mend)
    else:
        yield fine("filter", f"stands before Label Studio at {address}.")


CHECKS = (
    Check("settings", installation),
    Check("machine", machine),
    Check("disk", disk),
    Check("stack", stack, needs=("postgres",)),
    Check("database", database, needs=("postgres",)),
    Check("Label Studio's database", their_database, needs=("postgres",)),
    Check("queue", queue, needs=("valkey",)),
    Check("workers", workers, needs=("queue",)),
    Check("clock", clock, needs=("beat", "stack")),
    Check("filter", filter_, needs=("proxy", "label-studio", "stack")),
)
