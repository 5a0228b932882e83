"""An import into project n and the work on campaign n share a number, and nothing else."""

from contextlib import contextmanager
from itertools import permutations

import pytest
from django.db import connection

from catalog.locks import _WAITING_ROOM, Work, one_at_a_time, only


@pytest.fixture
def as_another_session(db, monkeypatch):
    """A context: what is asked for in it is asked for in a session of its own, as another worker does."""
    session = connection.copy()

    @contextmanager
    def other():
        with monkeypatch.context() as patched:
            patched.setattr("catalog.locks.connection", session)
            yield

    yield other
    session.close()


@pytest.mark.parametrize(("held", "wanted"), list(permutations(Work, 2)), ids=lambda work: work.name)
def test_work_on_project_7_keeps_nobody_from_campaign_7(held, wanted, as_another_session):
    with only(held, 7) as mine, as_another_session(), one_at_a_time(wanted, 7) as may:
        assert (mine, may) == (True, True)


def test_a_lock_with_the_key_of_the_waiting_room_did_keep_a_push_out(as_another_session):
    """The control: what the import's lock was once. The push believed that another one waits, and went."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (Work.PUSH + _WAITING_ROOM, 7))
        with as_another_session(), one_at_a_time(Work.PUSH, 7) as may:
            assert not may
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (Work.PUSH + _WAITING_ROOM, 7))


def test_no_key_is_a_waiting_room():
    assert {work + _WAITING_ROOM for work in Work}.isdisjoint(Work)
