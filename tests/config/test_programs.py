from pathlib import Path

import pytest

from config import programs, proxy
from config.environment import Environment


def names() -> list[str]:
    return [program.name for program in [*programs.stores(), *programs.servers()]]


@pytest.fixture
def given(settings):
    """Sets variables of the installation."""

    def give(**values: str) -> None:
        settings.ENV = Environment(settings.ENV.values | values)

    return give


@pytest.fixture
def _without_nginx(monkeypatch):
    monkeypatch.setattr(proxy, "find", lambda: None)


def test_by_default_everything_is_embedded():
    assert set(names()) == {
        "postgres", "valkey", "label-studio", "proxy", "web", "worker-default", "worker-gpu", "beat",
    }  # fmt: skip


def test_a_label_studio_elsewhere_is_left_out_with_its_proxy_and_its_ports(given):
    given(BURNISH_LABEL_STUDIO_URL="https://label-studio.factory.example")

    assert "label-studio" not in names()
    assert "proxy" not in names()
    assert [name for name, _, _ in programs.ports()] == ["BURNISH_PORT"]


def test_a_broker_elsewhere_is_left_out(settings):
    settings.EMBEDDED_BROKER = False

    assert "valkey" not in names()


def test_postgresql_stays_as_long_as_one_of_the_two_databases_needs_it(settings):
    settings.EMBEDDED_DATABASE = False
    assert "postgres" in names()

    settings.LABEL_STUDIO_DATABASE_URL = "postgres://label_studio@db.factory.example/label_studio"
    assert "postgres" not in names()


@pytest.mark.usefixtures("_without_nginx")
def test_without_nginx_there_is_no_proxy_and_no_port_for_it():
    assert "proxy" not in names()
    assert "BURNISH_LABEL_STUDIO_PORT" not in [name for name, _, _ in programs.ports()]


def test_the_absence_of_a_proxy_is_remembered_until_there_is_one(settings, tmp_path):
    settings.NO_PROXY_NOTE = tmp_path / "state" / "no-proxy.txt"

    assert proxy.warning() == ""
    assert proxy.note_absence(missing=True)
    assert not proxy.note_absence(missing=True)
    assert "Install nginx" in proxy.warning()
    assert proxy.note_absence(missing=False)
    assert proxy.warning() == ""


def test_nothing_listens_on_a_port_but_the_web_server_label_studio_and_the_proxy():
    for program in programs.stores():
        command = " ".join(map(str, program.command))
        assert "listen_addresses= " in command or "--port 0 " in command


def test_no_secret_is_on_a_command_line(settings):
    secrets = [settings.SECRET_KEY, settings.LABEL_STUDIO_TOKEN, settings.WEBHOOK_SECRET, settings.ADMIN_PASSWORD]

    for program in [*programs.stores(), *programs.servers()]:
        assert not any(secret in part for secret in secrets for part in map(str, program.command))


def test_the_template_of_the_proxy_keeps_nginx_own_variables():
    text = proxy.site({"BURNISH_PROXY_LISTEN": "127.0.0.1:8080", "BURNISH_PROXY_UPSTREAM": "http://127.0.0.1:8081"})

    assert "proxy_set_header Host $http_host;" in text
    assert "${" not in text
    assert Path(proxy.TEMPLATE).is_file()
