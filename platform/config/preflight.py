"""What must be true before anything is started: each complaint says what was expected, what came and what to do."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from config import label_studio, postgres, processes

LEAST_FREE_BYTES = 1 << 30
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 107 bytes


class NotReady(RuntimeError):
    """Something on this machine stands in the way; nothing was started."""


def check(ports: Sequence[tuple[str, str, int]], *, embeds_postgres: bool, embeds_label_studio: bool) -> None:
    """Look before anything is started.

    Args:
        ports: (name of the variable, address, port) of each server that does not run yet.

    Raises:
        NotReady: all complaints in one message.
    """
    complaints = [linux(), writable(), disk(), socket_folder()]
    if embeds_postgres:
        complaints.append(reachable())
    if embeds_label_studio:
        complaints.append(label_studio_venv())
    complaints += [equal_ports(ports), *(port_free(*one) for one in ports)]
    found = [complaint for complaint in complaints if complaint]
    if found:
        raise NotReady("\n".join(found))


def linux() -> str:
    if sys.platform == "linux":
        return ""
    return f"The embedded services run on Linux, this is {sys.platform}. Use compose.yaml, or services of your own."


def writable() -> str:
    folder = Path(settings.STATE_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    except OSError as error:
        return f"The state folder {folder} cannot be written ({error.strerror}). Set BURNISH_STATE to another folder."
    return ""


def disk() -> str:
    folder = nearest_existing(Path(settings.STATE_DIR))
    free = shutil.disk_usage(folder).free
    if free >= LEAST_FREE_BYTES:
        return ""
    return (
        f"Disk: expected {LEAST_FREE_BYTES >> 20} MB free for the state folder {settings.STATE_DIR}, got "
        f"{free >> 20} MB. Make room, or set BURNISH_STATE to another disk."
    )


def nearest_existing(folder: Path) -> Path:
    return next(path for path in [folder, *folder.parents] if path.exists())


def socket_folder() -> str:
    longest = Path(settings.SOCKET_DIR) / ".s.PGSQL.5432.lock"
    if len(os.fsencode(longest)) <= LONGEST_SOCKET_PATH:
        return ""
    return f"The folder for unix sockets {settings.SOCKET_DIR} has too long a name. Set XDG_RUNTIME_DIR to a short one."


def reachable() -> str:
    """Whether the user that runs PostgreSQL may enter the state folder."""
    user = postgres.service_user()
    if not user:
        return ""
    probe = subprocess.run(
        ["sh", "-c", 'cd "$1"', "sh", str(settings.STATE_DIR)],
        cwd="/",
        check=False,
        capture_output=True,
        **postgres.as_service_user(),
    )
    if probe.returncode == 0:
        return ""
    return (
        f"The user {user!r}, who runs PostgreSQL because root must not, cannot enter the state folder "
        f"{settings.STATE_DIR}: a folder above it is closed to others. Set BURNISH_STATE to a folder that others may "
        "enter, for example BURNISH_STATE=/var/lib/burnish."
    )


def label_studio_venv() -> str:
    if (label_studio.venv() / "bin" / "gunicorn").is_file():
        return ""
    return (
        f"Label Studio is not installed in {label_studio.venv()}. `make up` installs it; or set "
        "BURNISH_LABEL_STUDIO_VENV to a virtual environment with requirements-label-studio.txt."
    )


def equal_ports(ports: Sequence[tuple[str, str, int]]) -> str:
    numbers = [port for _, _, port in ports]
    twice = {port for port in numbers if numbers.count(port) > 1}
    names = " and ".join(name for name, _, port in ports if port in twice)
    return f"{names} are the same port. Give each its own." if twice else ""


def port_free(name: str, host: str, port: int) -> str:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except OSError as error:
        return port_complaint(name, host, port, error)
    return ""


def port_complaint(name: str, host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = processes.listening_on(port) or "another program"
        return f"Port {port} is in use by {holder}. Stop it, or set {name} to a free port."
    if error.errno == errno.EACCES:
        return f"Port {port} is for root only. Set {name} to a port above 1023."
    return f"Cannot listen on {host}, port {port} ({error.strerror}). Correct BURNISH_HOST or {name}."
