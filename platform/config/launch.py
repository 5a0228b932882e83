"""Becomes a supervised program, so that nothing outlives its keeper. Standard library only: it runs as a plain file.

A program whose supervisor was killed gets a signal from the kernel. A program that was itself killed may leave
workers in its process group (nginx and granian do) which still hold its port: its successor ends them first.
"""

import argparse
import ctypes
import json
import os
import pwd
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    asked = arguments()
    end_orphans(asked.group_file)
    # The supervisor made this process the leader of a group of its own.
    asked.group_file.write_text(str(os.getpgid(0)))
    environment = json.loads(asked.environment.read_text()) if asked.environment else dict(os.environ)
    if asked.user:
        become(asked.user)
    # After the change of user, which clears it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.Signals[f"SIG{asked.signal}"])
    os.execvpe(asked.command[0], asked.command, environment)  # noqa: S606  becoming it is the point


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signal", required=True, help="sent when the supervisor dies, without SIG")
    parser.add_argument("--group-file", type=Path, required=True, help="remembers the process group")
    parser.add_argument("--user", default="", help="unprivileged user to become, where root starts it")
    parser.add_argument("--environment", type=Path, help="JSON object: the whole environment of the program")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def end_orphans(group_file: Path) -> None:
    """Kill what the predecessor left in its process group.

    A number cannot become another's while its group has members, so a group without its leader is still the old one.
    """
    if not group_file.is_file():
        return
    group = int(group_file.read_text())
    if group > 1 and not Path(f"/proc/{group}").exists():
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return


def become(user: str) -> None:
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


if __name__ == "__main__":
    main()
