"""The filter, as the real nginx reads it, in front of a server that would answer anything."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from config import proxy

ALLOWED = [
    "GET /",
    "GET /user/login/?next=/",
    "POST /user/login/",
    "GET /logout",
    "GET /projects/",
    "GET /projects/7/data?tab=0&labeling=1",
    "GET /static/css/main.css?v=1",
    "GET /react-app/main-a1b2.js",
    "GET /data/local-files/?d=7/ab/abcd.png",
    "GET /api/projects/7/next",
    "GET /api/tasks?project=7&page=1",
    "POST /api/tasks/12/annotations?project=7",
    "POST /api/tasks/12/annotations/",
    "POST /api/tasks/12/drafts?project=7",
    "PATCH /api/annotations/5/?taskID=12",
    "DELETE /api/drafts/4/",
    "POST /api/dm/actions?id=next_task&project=7",
    "POST /api/dm/actions?id=next_task&tabID=0&project=7",
]
REFUSED = [
    "POST /api/dm/actions?id=delete_tasks&project=7",
    "POST /api/dm/actions?project=7&id=delete_tasks",
    "POST /api/dm/actions?id=next_task&id=delete_tasks&project=7",
    "POST /api/dm/actions?id=next_task&project=7&%69d=delete_tasks",
    "POST /api/dm/actions?id=next_task;id=delete_tasks",
    "POST /api/dm/actions",
    "POST /api/projects",
    "PATCH /api/projects/7",
    "DELETE /api/projects/7/",
    "POST /api/projects/7/import",
    "GET /api/projects/7/export?exportType=JSON",
    "DELETE /api/tasks/12/",
    "PATCH /api/tasks/12/",
    "DELETE /api/annotations/5/",
    "PATCH /api/dm/views/3",
    "DELETE /api/dm/views/reset",
    "GET /api/current-user/token",
    "POST /api/current-user/reset-token",
    "POST /api/token/",
    "POST /api/jwt/settings",
    "GET /api/webhooks/",
    "POST /api/webhooks/",
    "POST /api/storages/localfiles",
    "GET /api/storages/localfiles?project=7",
    "POST /api/ml/",
    "GET /api/invite",
    "GET /user/signup/?token=abc",
    "POST /user/signup/?token=abc",
    "GET /user/account/",
    "PATCH /api/users/1/",
    "DELETE /api/users/2/",
    "GET /api/organizations/1/memberships",
    "GET /admin/",
    "GET /django-rq/",
    "GET /data/upload/7/secret.png",
    # the same doors under other spellings
    "GET /api/%77ebhooks/",
    "GET //api/webhooks/",
    "GET /static/../api/webhooks/",
    "GET /static/%2e%2e/api/webhooks/",
    "GET /static/..%2fapi/webhooks/",
    "GET /x/data/local-files/?d=7/ab/abcd.png",
    "get /api/projects",
    "PUT /api/annotations/5/",
]


class Anything(BaseHTTPRequestHandler):
    """Answers every request, and tells the headers it got."""

    def answer(self) -> None:
        said = "\n".join(f"{name}: {value}" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  its base class finds them so

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def filtered(tmp_path_factory) -> Iterator[str]:
    """The address of an nginx with our filter."""
    nginx = proxy.find()
    assert nginx, "make test installs nginx where it may; install it: apt install nginx-light"
    folder = tmp_path_factory.mktemp("proxy")
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Anything)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    path = folder / "nginx.sock"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proxy, "folder", lambda: folder)
        patch.setattr(proxy, "listen", lambda: f"unix:{path}")
        patch.setattr(proxy, "upstream", lambda: f"http://127.0.0.1:{behind.server_port}")
        (folder / "nginx.conf").write_text(proxy.configuration())
    server = subprocess.Popen([nginx, "-e", "stderr", "-c", folder / "nginx.conf", "-p", folder])
    wait_for(path, server)
    yield str(path)
    server.terminate()
    server.wait(10)
    behind.shutdown()


def wait_for(path: Path, server: "subprocess.Popen[bytes]") -> None:
    while not path.exists():
        assert server.poll() is None, "nginx refused its configuration"


def ask(path: str, line: str, **headers: str) -> tuple[int, str]:
    """Status and body of one request, its line sent exactly as written."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(f"{line} HTTP/1.1\r\nHost: burnish\r\nConnection: close\r\n{head}\r\n".encode())
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("line", ALLOWED)
def test_what_labelling_needs_is_let_through(filtered, line):
    assert ask(filtered, line)[0] == 200


@pytest.mark.parametrize("line", REFUSED)
def test_everything_else_is_refused(filtered, line):
    assert ask(filtered, line)[0] in {400, 403}


def test_a_token_is_not_passed_on(filtered):
    _, headers = ask(filtered, "GET /api/projects", Authorization="Token 0123", Cookie="sessionid=1")

    assert "sessionid" in headers
    assert "0123" not in headers


def test_the_task_list_is_told_that_there_are_no_models_to_connect(filtered):
    assert ask(filtered, "GET /api/ml?project=7") == (200, "[]")


def test_an_enormous_body_is_refused(filtered):
    status, _ = ask(filtered, "POST /api/tasks/12/annotations", Content_Length=str(100 << 20))

    assert status == 413
