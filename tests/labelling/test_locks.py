"""An import into project n and the work on campaign n share a number, and nothing else."""

from itertools import product

import pytest
from django.db import connection

from catalog.locks import Work, only
from labelling.locks import _WAITING_ROOM, ANSWER, PUSH, RECONCILE, one_at_a_time

PLACES = {"push": PUSH, "reconcile": RECONCILE, "answer": ANSWER}


@pytest.fixture
def another_session(db, monkeypatch):
    """What labelling asks for from now on, it asks for in a session of its own, as another worker does."""
    session = connection.copy()
    monkeypatch.setattr("labelling.locks.connection", session)
    yield
    session.close()


@pytest.mark.parametrize("work", Work, ids=lambda work: work.name)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_work_on_project_7_keeps_nobody_from_campaign_7(work, place, another_session):
    with only(work, 7) as mine, one_at_a_time(place, 7) as may:
        assert (mine, may) == (True, True)


def test_a_lock_with_the_key_of_the_waiting_room_did_keep_a_push_out(another_session):
    """The control: what the import's lock was once. The push believed that another one waits, and went."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (PUSH + _WAITING_ROOM, 7))
        with one_at_a_time(PUSH, 7) as may:
            assert not may
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", (PUSH + _WAITING_ROOM, 7))


def test_no_key_is_given_twice():
    taken = {place + room for place, room in product(PLACES.values(), (0, _WAITING_ROOM))}

    assert len(taken) == 2 * len(PLACES)
    assert taken.isdisjoint(Work)
