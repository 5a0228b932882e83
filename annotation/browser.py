"""What a person's browser sends to Label Studio: a form login, then JSON requests with the session and csrf cookies."""

import html
import re
from collections.abc import Sequence
from typing import Any, Self

import httpx

from annotation.connection import Connection
from annotation.errors import TIMEOUT, LabelStudioError, explained

Json = dict[str, Any]


class Browser(Connection):
    """A logged-in session of one person. Goes through the address people use, proxy and all."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, follow_redirects=True)
        try:
            self._log_in(email, password)
        except BaseException:
            self.close()
            raise

    @classmethod
    def signing_up(cls, url: str, invitation: str, email: str, password: str) -> Self:
        """A session of a new person, who follows an invitation and fills in its form.

        Args:
            invitation: The path of an invitation link (`/user/signup/?token=...`).

        Raises:
            LabelStudioError: The form was refused: the address is taken, or the password too weak.
        """
        self = cls.__new__(cls)
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, follow_redirects=True)
        try:
            self._fill_in(
                f"sign {email} up", invitation, {"email": email, "password": password, "allow_newsletters": "false"}
            )
        except BaseException:
            self.close()
            raise
        return self

    def user_id(self) -> int:
        """The id of this person in Label Studio."""
        return int(self._request("ask who is logged in", "GET", "/api/current-user/whoami").json()["id"])

    def next_task(self, project: int) -> Json | None:
        """The task that "Label All Tasks" shows next, locked for this person; None when the queue is empty."""
        try:
            response = self._request(
                "ask for the next task",
                "POST",
                "/api/dm/actions",
                params={"id": "next_task", "project": project},
                json={"project": str(project)},
            )
        except LabelStudioError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        task: Json = response.json()
        return task

    def submit(
        self, task: Json, result: Sequence[Json], *, lead_time: float, parent_prediction: int | None = None
    ) -> int:
        """The id of the annotation that the Submit button makes. lead_time: seconds of work."""
        answer = {"result": list(result), "lead_time": lead_time, "parent_prediction": parent_prediction}
        return self._answer("submit an annotation", task, answer)

    def skip(self, task: Json, *, lead_time: float = 0.0) -> int:
        """The id of the cancelled annotation that the Skip button makes."""
        return self._answer("skip a task", task, {"result": [], "lead_time": lead_time, "was_cancelled": True})

    def _answer(self, doing: str, task: Json, answer: Json) -> int:
        project = task["project"]
        body = {"draft_id": 0, "parent_annotation": None, "project": project, **answer}
        if lock := task.get("unique_lock_id"):
            body["unique_id"] = lock  # a second click on Submit is refused by it
        path = f"/api/tasks/{task['id']}/annotations"
        return int(self._request(doing, "POST", path, params={"project": project}, json=body).json()["id"])

    def _request(self, doing: str, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"X-CSRFToken": self._csrf_token(), "Referer": str(self._http.base_url)}
        with explained(doing):
            response = self._http.request(method, path, headers=headers, **arguments)
            response.raise_for_status()
        return response

    def _csrf_token(self) -> str:
        return self._http.cookies.get("csrftoken") or ""

    def _log_in(self, email: str, password: str) -> None:
        form = {"email": email, "password": password, "persist_session": "on"}
        self._fill_in(f"log in as {email}", "/user/login/", form)

    def _fill_in(self, doing: str, path: str, form: dict[str, str]) -> None:
        """Get a form, post it; a form that comes back instead of a redirection was not accepted."""
        self._request(doing, "GET", path)
        response = self._request(doing, "POST", path, data={**form, "csrfmiddlewaretoken": self._csrf_token()})
        if not response.history:
            objections = re.findall(r'class="(?:field_errors|error)">(.*?)</(?:ul|p)>', response.text, re.DOTALL)
            words = html.unescape(re.sub(r"<.*?>", " ", " ".join(objections))).split()
            reason = " ".join(words) or "it showed the form again, without a reason"
            raise LabelStudioError(f"Label Studio refused to {doing}: {reason}", status=httpx.codes.FORBIDDEN)
