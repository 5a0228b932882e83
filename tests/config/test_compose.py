"""No Docker engine runs here: compose.yaml is held against the stack that does run."""

import re
import shlex
from typing import Any

import pytest
import yaml

from config import label_studio, programs
from config.environment import KNOWN, ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVERS = sorted(set(SERVICES) - {"prepare"})
OURS = ["prepare", "web", "worker-default", "worker-gpu", "beat"]


def test_it_has_the_programs_of_the_embedded_stack():
    embedded = {program.name for program in [*programs.stores(), *programs.servers()]}

    assert set(SERVERS) == embedded


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_watched_and_started_again(name):
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name):
    assert re.search(r":\d+\.\d+", SERVICES[name]["image"])


def test_the_base_image_is_pinned():
    assert all(
        re.search(r":\d+\.\d+\.\d+", image) for image in re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE)
    )


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_told_what_burnish_reads(name):
    given = {variable for variable in SERVICES[name]["environment"] if variable.startswith("BURNISH_")}

    assert given <= set(KNOWN)
    assert {"BURNISH_DATABASE_URL", "BURNISH_BROKER_URL", "BURNISH_LABEL_STUDIO_URL"} <= given


def test_every_variable_it_asks_for_is_described():
    asked = set(re.findall(r"\$\{(BURNISH_\w+)", (ROOT / "compose.yaml").read_text()))

    assert asked <= set(KNOWN)


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_has_a_default(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("SECRET|PASSWORD|TOKEN$|DATABASE_URL", variable):
            assert re.search(r"\$\{\w+:\?", value), variable


def test_label_studio_is_set_as_the_embedded_one():
    given = SERVICES["label-studio"]["environment"]
    embedded = {name: value for name, value in label_studio.environment().items() if name not in IN_THE_IMAGE}

    assert set(embedded) <= set(given)
    assert {name: given[name] for name in SAME} == {name: embedded[name] for name in SAME}


IN_THE_IMAGE = {"PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONUNBUFFERED", "DJANGO_SETTINGS_MODULE"}
SAME = [
    name
    for name, value in label_studio.environment().items()
    if name.startswith("LABEL_STUDIO_") and re.fullmatch(r"true|false|[\d./]+", value)
]


def test_label_studio_sees_views_and_nothing_else_of_ours():
    mounts = SERVICES["label-studio"]["volumes"]

    assert mounts == ["label-studio:/label-studio", "views:/state/data/views:ro"]


@pytest.mark.parametrize("program", [programs.worker("default", children=2), programs.worker("gpu", children=1)])
def test_a_worker_runs_as_in_the_embedded_stack(program):
    service = SERVICES[program.name]

    assert service["command"][1:] == program.command[1:]
    assert service["stop_signal"] == f"SIG{program.stop_signal}"


def test_the_web_server_runs_as_in_the_embedded_stack(settings):
    settings.HOST, settings.PORT = "0.0.0.0", 8000
    [command] = re.findall(r'^CMD \[("python", "-m", "granian".*)\]$', DOCKERFILE, re.MULTILINE)

    assert shlex.split(command.replace(",", ""))[1:] == programs.web().command[1:]


def test_the_proxy_filters_as_in_the_embedded_stack():
    [mount] = SERVICES["proxy"]["volumes"]
    filled = {name for name in SERVICES["proxy"]["environment"] if name.startswith("BURNISH_PROXY_")}

    template = (ROOT / mount.split(":")[0]).read_text()
    assert set(re.findall(r"\$\{(\w+)\}", template)) == filled


def test_nothing_but_the_web_server_and_the_proxy_can_be_reached_from_outside():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"web", "proxy"}
