"""The reverse proxy through which annotators reach Label Studio: an nginx that lets through what labelling needs."""

import os
import re
import shutil
from pathlib import Path

from django.conf import settings

from config import postgres, probes
from config.supervision import Program

ABSENT = (
    "Label Studio is open: there is no nginx on this machine to stand before it, and every Label Studio account may "
    "delete any project. Install nginx (Debian: apt install nginx-light), then: make down up"
)
TEMPLATE = Path(__file__).with_name("label_studio_proxy.conf.template")


def find() -> str | None:
    """The nginx of this machine. A plain user's PATH rarely holds the folders of servers."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def folder() -> Path:
    return Path(settings.STATE_DIR) / "proxy"


def site(values: dict[str, str]) -> str:
    """The template with its ${NAMES} filled in; nginx's own $variables stay. Raises KeyError on an unknown name."""
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], TEMPLATE.read_text())


def listen() -> str:
    return f"{settings.HOST}:{settings.LABEL_STUDIO_PORT}"


def upstream() -> str:
    return f"http://127.0.0.1:{settings.LABEL_STUDIO_INTERNAL_PORT}"


def configuration() -> str:
    """A whole nginx.conf for a server of our own beside the machine's."""
    places = "\n".join(
        f'    {kind}_temp_path "{folder() / kind}";' for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = site({"BURNISH_PROXY_LISTEN": listen(), "BURNISH_PROXY_UPSTREAM": upstream()})
    user = postgres.service_user()
    return f"""\
daemon off;
{f"user {user};" if user else ""}
worker_processes 1;
error_log stderr warn;
pid "{folder() / "nginx.pid"}";
events {{ worker_connections 512; }}
http {{
    access_log off;
{places}
{server}
}}
"""


def program(nginx: str) -> Program:
    path = folder() / "nginx.conf"
    # -e: before it reads its configuration it would open the machine's log, which is root's.
    return Program(
        "proxy",
        [nginx, "-e", "stderr", "-c", str(path), "-p", str(folder())],
        ready=lambda: probes.page(settings.HOST, settings.LABEL_STUDIO_PORT, "/user/login/"),
        folder=folder(),
        files={path: configuration()},
    )


def note_absence(*, missing: bool) -> bool:
    """Remember that people reach Label Studio unfiltered, or that they no longer do; True when that is news."""
    note = Path(settings.NO_PROXY_NOTE)
    if note.is_file() == missing:
        return False
    if missing:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(ABSENT)
    else:
        note.unlink()
    return True


def warning() -> str:
    """What people must know when there is no proxy; empty when there is one."""
    note = Path(settings.NO_PROXY_NOTE)
    return note.read_text() if note.is_file() else ""
