"""The command line: `python -m ml train|distil|predict|evaluate DIR`, and tools for folders of images and masks.

Exit status 0 means that the work is done (result.json is written); otherwise the last line on stderr says what to do.
After 75 the same command may succeed later: a full disk, a process that was killed.
"""

import argparse
import errno
import os
import signal
import sys
import threading
import traceback

from ml import simulate, tools, verbs
from ml import spec as specs
from ml.bench import command

_NO_MEMORY = ("out of memory", "can't allocate memory", "Unable to allocate", "bad_alloc")


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    # Before torch is loaded: threads that spin long while they wait are ten times slower as soon as anything else wants
    # the processor, threads that never spin are slower than one alone (docs/log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if getattr(options, "watch_stdin", False):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        options.run(options)
    except Exception as error:  # noqa: BLE001 - the top of a process: everything becomes a sentence for its user
        if not isinstance(error, specs.SpecError | ArithmeticError | ChildProcessError):
            traceback.print_exc()
        print(_sentence(error, options), file=sys.stderr, flush=True)
        return os.EX_TEMPFAIL if isinstance(error, OSError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    added = parser.add_subparsers(dest="verb", required=True)
    verbs.add_verbs(added)
    tools.add_verbs(added)
    for verb, module, told in (
        ("simulate", simulate, "simulated campaigns on images whose masks are known"),
        ("bench", command, "measure this machine; leaves NAME.json and NAME.md"),
    ):
        one = added.add_parser(verb, help=told)
        module.add_options(one)
        one.set_defaults(run=module.run)
    return parser


def _end_with_stdin() -> None:
    """Ends this process group once whoever holds the other end of stdin is gone: no orphan trains on."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _sentence(error: Exception, options: argparse.Namespace) -> str:
    """One line, and what to do."""
    text = " ".join(str(error).split())
    if any(words in text for words in _NO_MEMORY) or isinstance(error, MemoryError):
        return f"ml {options.verb}: out of memory; lower batch, crop or the network's width ({text[:200]})"
    if any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT)):
        return f"ml {options.verb}: the disk is full; make room and start it again, it goes on ({text[:200]})"
    if isinstance(error, specs.SpecError | ArithmeticError | ChildProcessError):
        return text
    return f"ml {options.verb} failed with {type(error).__name__}: {text[:500]}; the trace is above"


if __name__ == "__main__":
    sys.exit(main())
