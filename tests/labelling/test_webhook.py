import pytest
from django.core.cache import cache
from django.test import Client

from labelling.models import LabellingProject

pytestmark = pytest.mark.django_db


@pytest.fixture
def knock(asked):
    """POST as Label Studio does."""
    cache.clear()
    project = LabellingProject.objects.get()

    def knock(*, secret: str = "a shared secret", number: str = str(project.remote_id), body: str = "{}") -> int:
        headers = {"X-Burnish-Secret": secret, "X-Burnish-Project": number}
        client = Client(enforce_csrf_checks=True)
        return client.post(
            "/hooks/label-studio/", body, content_type="application/json", headers=headers
        ).status_code  # fmt: skip

    return knock


def test_a_bell_with_the_secret_rings_for_its_project(knock, rings):
    assert knock() == 204

    assert rings == [("labelling.tasks.reconcile", LabellingProject.objects.get().pk)]


@pytest.mark.parametrize("secret", ["", "another secret", "a shared secret ", "ein Gehéimnis"])
def test_a_bell_without_the_secret_is_refused(knock, rings, secret):
    assert knock(secret=secret) == 403

    assert rings == []


def test_without_a_secret_in_the_settings_nobody_may_ring(knock, rings, settings):
    settings.WEBHOOK_SECRET = ""

    assert knock(secret="") == 403


def test_a_bell_for_a_project_of_somebody_else_is_refused(knock, rings):
    assert knock(number="999") == 404
    assert knock(number="1; drop") == 404
    assert knock(number="9" * 30) == 404

    assert rings == []


def test_a_long_body_is_refused_unread(knock, rings):
    assert knock(body="x" * 100_000) == 413

    assert rings == []


def test_many_bells_at_once_ring_once(knock, rings):
    for _ in range(5):
        assert knock() == 204

    assert len(rings) == 1


def test_looking_at_the_bell_is_not_ringing(client, rings):
    assert client.get("/hooks/label-studio/").status_code == 405
