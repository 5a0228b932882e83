"""One worker at a time, without a transaction held open while Label Studio is spoken to."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# First keys of PostgreSQL's advisory locks, which belong to the whole database: bytes of "bu" and the place.
PUSH, RECONCILE, ANSWER = 0x6275_0000, 0x6275_0010, 0x6275_0020
_WAITING_ROOM = 1  # added to a first key


@contextmanager
def one_at_a_time(place: int, pk: int) -> Iterator[bool]:
    """True when the caller may work now; False when another caller waits already, who will see all that we could see.

    One works and at most one waits, so a bell that rings while work is under way is never lost and rings never pile up.
    The locks belong to the database session: they end with it, whatever happens to the worker.
    """
    if not _call("pg_try_advisory_lock", place + _WAITING_ROOM, pk):
        yield False
        return
    try:
        _call("pg_advisory_lock", place, pk)
    finally:
        _call("pg_advisory_unlock", place + _WAITING_ROOM, pk)
    try:
        yield True
    finally:
        _call("pg_advisory_unlock", place, pk)


def _call(function: str, key: int, pk: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", (key, pk))
        return bool(cursor.fetchone()[0])
