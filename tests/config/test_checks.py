import pytest
from django.core.exceptions import ImproperlyConfigured

from config import checks
from config.environment import Environment


def ids(messages) -> list[str]:
    return [message.id for message in messages]


def test_these_tests_run_on_possible_settings():
    assert checks.installation(None) == []


def test_a_misspelt_variable_is_refused_with_the_name_that_was_meant(settings):
    settings.ENV = Environment({"BURNISH_PROT": "8000", "PATH": "/bin"})

    [message] = checks.installation(None)

    assert message.id == "burnish.E001"
    assert "Did you mean BURNISH_PORT?" in message.hint


def test_one_port_for_two_servers_is_refused(settings):
    settings.PORT = settings.LABEL_STUDIO_PORT = 8000

    [message] = checks.installation(None)

    assert message.id == "burnish.E002"
    assert "BURNISH_PORT and BURNISH_LABEL_STUDIO_PORT" in message.msg


def test_another_database_than_postgresql_is_refused(monkeypatch, settings):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")

    assert ids(checks.installation(None)) == ["burnish.E003"]


def test_a_public_address_the_server_does_not_answer_to_is_refused(settings):
    settings.PUBLIC_URL = settings.LABEL_STUDIO_PUBLIC_URL = "https://burnish.factory.example"

    [message] = checks.installation(None)

    assert message.id == "burnish.E004"
    assert "BURNISH_ALLOWED_HOSTS=" in message.hint


@pytest.mark.parametrize("email", ["admin", "@factory.example", "admin@factory"])
def test_an_administrator_without_an_address_is_refused(settings, email):
    settings.ADMIN_EMAIL = email

    assert ids(checks.installation(None)) == ["burnish.E005"]


@pytest.mark.parametrize(("host", "refused"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_debugging_is_for_this_machine_only(settings, host, refused):
    settings.DEBUG, settings.HOST = True, host

    assert ids(checks.installation(None)) == ["burnish.E006"] * refused


def test_one_encrypted_address_beside_a_clear_one_is_warned_of(settings):
    settings.PUBLIC_URL = "https://localhost"

    assert ids(checks.installation(None)) == ["burnish.W001"]


def test_nothing_is_served_without_secrets(settings):
    settings.ENV = Environment({**settings.ENV.values, "BURNISH_WEBHOOK_SECRET": ""})

    with pytest.raises(ImproperlyConfigured, match="BURNISH_WEBHOOK_SECRET"):
        checks.refuse_to_serve()


def test_what_is_possible_is_served():
    assert ids(checks.installation(None)) == []
    checks.refuse_to_serve()
