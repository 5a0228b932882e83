import httpx
import pytest
from django.contrib.auth.models import User

pytestmark = pytest.mark.acceptance


def test_label_studio_accepts_our_token(label_studio):
    answer = httpx.get(f"{label_studio.url}/api/projects", headers={"Authorization": f"Token {label_studio.token}"})

    assert answer.status_code == 200


def test_the_administrator_can_log_in(on_the_stack):
    administrator = User.objects.get()

    assert administrator.is_superuser
