"""How one knows that a program answers."""

import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import redis
from celery import current_app
from kombu.exceptions import OperationalError

SECONDS = 5  # what stands still answers as little as what has ended


def page(host: str, port: int, path: str) -> bool:
    """Whether a page comes back with status 200."""
    address = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  compared, not bound
    return status(f"http://{address}:{port}{path}") == 200


def status(url: str) -> int | None:
    """With which HTTP status an address of our settings answers; None = it does not."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response:  # noqa: S310  never one from outside
            return int(response.status)
    except urllib.error.HTTPError as error:
        with closing(error):
            return error.code
    except OSError:
        return None


def valkey(socket: Path) -> bool:
    try:
        return bool(redis.Redis(unix_socket_path=str(socket), socket_timeout=SECONDS).ping())
    except redis.RedisError:
        return False  # not there yet, or still reading its file


def worker(name: str) -> bool:
    try:
        return bool(current_app.control.ping([name], timeout=1))
    except (redis.RedisError, OperationalError):
        return False  # the broker does not answer: nor does the worker
