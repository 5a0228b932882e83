"""What /proc says about running processes."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One life of a process: its number may be used again, the pair with the start time may not."""

    pid: int
    started: int  # clock ticks since boot
    parent: int = field(compare=False)  # changes: who loses its parent is adopted

    @property
    def command(self) -> str:
        """Its command line; empty when it has ended or tells nobody."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    @property
    def alive(self) -> bool:
        """False also for a zombie: it runs nothing and holds nothing."""
        return read(self.pid) == self

    @property
    def address(self) -> str:
        """What names it among all processes of all machines."""
        return f"{socket.gethostname()}/{self.pid}/{self.started}"


def my_address() -> str:
    """The address of this process; empty where /proc does not tell."""
    process = read(os.getpid())
    return process.address if process else ""


def read(pid: int) -> Process | None:
    """The process with this number, None where there is none (any more)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is a name in brackets, which may hold anything.
    fields = text.rpartition(")")[2].split()
    if fields[0] == "Z":
        return None
    return Process(pid=pid, parent=int(fields[1]), started=int(fields[19]))


def is_gone(address: str) -> bool:
    """Whether the process with this address ran on this machine and has ended; of other machines we know nothing."""
    host, _, life = address.rpartition("/")[0].rpartition("/")
    if host != socket.gethostname():
        return False
    process = read(int(life))
    return process is None or process.address != address


def everyone() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := read(int(entry.name))):
            yield process


def with_descendants(pid: int) -> list[Process]:
    """The process and all that it started, itself first."""
    children: dict[int, list[Process]] = {}
    for process in everyone():
        children.setdefault(process.parent, []).append(process)
    root = read(pid)
    family = [root] if root else []
    for process in family:
        family.extend(children.get(process.pid, []))
    return family


def wait_gone(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Those still alive after at most that time."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if process.alive]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if process.alive]
    return left


def kill(processes: Iterable[Process]) -> None:
    for process in processes:
        if process.alive:
            os.kill(process.pid, signal.SIGKILL)


def listening_on(port: int) -> str:
    """Who holds a TCP port, in words; empty when /proc does not tell."""
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in map(str.split, read_lines(table)[1:])
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process in everyone() if sockets else ():
        if not sockets.isdisjoint(open_files(process.pid)):
            return f"process {process.pid} ({process.command[:80]})"
    return ""


def read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def open_files(pid: int) -> Iterator[str]:
    """Targets of its file descriptors, as far as we may look; they come and go while we do."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink())
