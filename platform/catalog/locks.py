"""Work that one process at a time does for a project: locks of the database session, which end with the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from django.db import connection


class Work(IntEnum):
    """First key of the advisory lock: bytes of "bu" and the place; those below 0x0100 are labelling's."""

    IMPORT = 0x6275_0100
    DESCRIBE = 0x6275_0110


@contextmanager
def only(work: Work, project_id: int) -> Iterator[bool]:
    """Whether this work on the project is ours until the end of the block."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (work, project_id))
        if not cursor.fetchone()[0]:
            yield False
            return
        try:
            yield True
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (work, project_id))
