import os
import subprocess
import sys

import pytest

from config.environment import ROOT, BadEnvironment, Environment, read_env_file, socket_dir


@pytest.mark.parametrize("value", ["0", "65536", "80a", "-1", " "])
def test_a_port_that_is_none_is_refused(value):
    with pytest.raises(BadEnvironment, match="from 1 to 65535"):
        Environment({"BURNISH_PORT": value}).port("BURNISH_PORT", 8000)


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("No", False), ("1", True), ("", False)])
def test_true_and_false_have_few_spellings(value, expected):
    assert Environment({"BURNISH_DEBUG": value}).boolean("BURNISH_DEBUG", default=False) is expected


def test_another_word_for_true_is_refused():
    with pytest.raises(BadEnvironment, match="expected true or false, got 'on'"):
        Environment({"BURNISH_DEBUG": "on"}).boolean("BURNISH_DEBUG", default=False)


@pytest.mark.parametrize("value", ["Europe/Atlantis", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_time_zone_is_refused(value):
    with pytest.raises(BadEnvironment, match="Europe/Berlin"):
        Environment({"BURNISH_TIME_ZONE": value}).time_zone("BURNISH_TIME_ZONE", "UTC")


def test_an_address_without_its_scheme_is_refused():
    with pytest.raises(BadEnvironment, match="http or https"):
        Environment({"BURNISH_PUBLIC_URL": "burnish:8000"}).url("BURNISH_PUBLIC_URL", "", schemes=("http", "https"))


def test_a_line_of_an_env_file_without_a_value_is_named(tmp_path):
    (tmp_path / ".env").write_text("# ours\nBURNISH_PORT='8001'\n\nBURNISH_HOST\n")

    with pytest.raises(BadEnvironment, match="line 4"):
        read_env_file(tmp_path / ".env")


def test_the_folder_for_sockets_is_short_however_deep_the_state_lies(tmp_path):
    deep = tmp_path.joinpath(*["a-long-folder-name"] * 20)

    assert len(str(socket_dir(deep) / ".s.PGSQL.5432.lock")) < 100
    assert socket_dir(deep) != socket_dir(tmp_path)


def test_a_wrong_value_ends_a_command_with_one_sentence():
    done = subprocess.run(
        [sys.executable, "manage.py", "status"], cwd=ROOT, env={**os.environ, "BURNISH_PORT": "eighty"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.strip() == "BURNISH_PORT: expected a whole number from 1 to 65535, got 'eighty'."
