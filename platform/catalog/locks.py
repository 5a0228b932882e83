"""Work that one process at a time does, without a transaction held open: locks of the database session end with it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum, unique

from django.db import connection


@unique
class Work(IntEnum):
    """First key of an advisory lock, which belongs to the whole database: bytes of "bu" and the place.

    The second key is the project's; of PUSH and ANSWER the campaign's, of RECONCILE the labelling project's.
    """

    PUSH = 0x6275_0000
    RECONCILE = 0x6275_0010
    ANSWER = 0x6275_0020
    IMPORT = 0x6275_0100
    DESCRIBE = 0x6275_0110


_WAITING_ROOM = 1  # added to a first key


def only(work: Work, pk: int) -> AbstractContextManager[bool]:
    """Whether this work is ours until the end of the block."""
    return _tried(work, pk)


@contextmanager
def one_at_a_time(work: Work, pk: int) -> Iterator[bool]:
    """True when the caller may work now; False when another caller waits already, who will see all that we could see.

    One works and at most one waits, so a bell that rings while work is under way is never lost and rings never pile up.
    """
    with _tried(work + _WAITING_ROOM, pk) as waits:
        if waits:
            _call("pg_advisory_lock", work, pk)
    if not waits:
        yield False
        return
    try:
        yield True
    finally:
        _call("pg_advisory_unlock", work, pk)


@contextmanager
def _tried(key: int, pk: int) -> Iterator[bool]:
    if not _call("pg_try_advisory_lock", key, pk):
        yield False
        return
    try:
        yield True
    finally:
        _call("pg_advisory_unlock", key, pk)


def _call(function: str, key: int, pk: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", (key, pk))
        return bool(cursor.fetchone()[0])
