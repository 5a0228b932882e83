"""The secrets nobody has to invent: generated once and kept in `secrets.env` of the state folder."""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from config.environment import read_env_file

GENERATED: dict[str, Callable[[], str]] = {
    "BURNISH_SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "BURNISH_LABEL_STUDIO_SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "BURNISH_LABEL_STUDIO_TOKEN": lambda: secrets.token_hex(20),
    "BURNISH_WEBHOOK_SECRET": lambda: secrets.token_urlsafe(32),
    "BURNISH_ADMIN_PASSWORD": lambda: secrets.token_urlsafe(12),
}


def write_missing(state: Path, given: Mapping[str, str]) -> bool:
    """True when something had to be generated: settings read before that do not know it."""
    path = state / "secrets.env"
    kept = read_env_file(path)
    made = {name: make() for name, make in GENERATED.items() if not kept.get(name) and not given.get(name)}
    if made:
        write_private(path, "".join(f"{name}={value}\n" for name, value in sorted((kept | made).items())))
    return bool(made)


def write_private(path: Path, text: str) -> None:
    """A file that its owner alone reads, replaced as a whole: a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
