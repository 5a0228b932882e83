"""The one place that speaks to Label Studio with an administrator's token: a thin layer on `label-studio-sdk`.

Tasks go past the SDK's models, through its HTTP client: the models would copy and check every number of every RLE, and
they drop the count of predictions that an import answers with.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from annotation.browser import Browser
from annotation.connection import Connection
from annotation.errors import SERVER_FAULT, TIMEOUT, LabelStudioError, explained
from annotation.remote import ProjectCounts, ProjectSettings, RemoteAnnotation, RemoteTask, RemoteUser, Webhook

__all__ = ["LabelStudio", "LabelStudioError", "ProjectCounts", "RemoteAnnotation", "RemoteTask", "RemoteUser"]

Json = dict[str, Any]

SAMPLING = "Uncertainty sampling"  # ascending score of the current model version: our rank decides who is next
IMPORT_TIMEOUT = httpx.Timeout(600, connect=5)  # seconds; 2,000 tasks with three regions each took five
IDS_IN_A_QUERY = 200  # they travel in the address, of which gunicorn reads 4094 bytes
ALL_IN_ONE_PAGE = 1_000_000  # one answer is one moment; pages would shift under us while people work
ANNOTATION_FIELDS = ",".join(field.name for field in fields(RemoteAnnotation))  # `include` reaches into the annotations
WEBHOOK_ACTIONS = (
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED",
)  # fmt: skip


class LabelStudio(Connection):
    """A connection. Every method raises LabelStudioError when Label Studio refuses or does not answer.

    Nothing is sent twice by itself: a POST that got no answer may have been obeyed.
    """

    def __init__(self, url: str, token: str) -> None:
        """`token`: a legacy token (hex) or a personal access token (JWT).

        Raises:
            ValueError: It is neither.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", token):  # checked here: the HTTP layer would show it in its error
            raise ValueError(
                "expected a Label Studio token of letters, digits, dots and dashes. Set LABEL_STUDIO_TOKEN."
            )
        # A second and 64 MB (pandas): spared to every process that starts and never speaks to Label Studio.
        from label_studio_sdk import LabelStudio as Sdk

        self._url = url
        self._http = httpx.Client(timeout=TIMEOUT)
        self._sdk = Sdk(base_url=url, api_key=token, httpx_client=self._http, max_retries=0)  # type: ignore[no-untyped-call]

    def health(self) -> str:
        """The version of the Label Studio that answers."""
        version = self._request("say its version", "GET", "api/version")
        return str(version["release"])

    def current_user(self) -> RemoteUser:
        """Whom the token belongs to."""
        with explained("say whose token this is"):
            user = self._sdk.users.whoami()
        return RemoteUser(id=user.id, email=str(user.email))

    # Projects

    def create_project(self, title: str, *, label_config: str, description: str = "", instructions: str = "") -> int:
        """The id of a new project whose queue follows our scores. instructions: HTML, shown before labelling."""
        with explained(f"create the project {title}"):
            project = self._sdk.projects.create(
                **_presentation(title, label_config, description, instructions),
                show_collab_predictions=True,  # else an annotator starts from an empty canvas
                enable_empty_annotation=True,  # "no defect" is an answer
            )
        if project.id is None:
            raise LabelStudioError(f"Label Studio made the project {title} without saying its id. {SERVER_FAULT}")
        return project.id

    def find_project(self, description: str) -> int | None:
        """The id of the project with exactly this description: one made by a lost answer is not made again."""
        params = {"include": "id,description", "page_size": ALL_IN_ONE_PAGE}
        rows = self._request("list projects", "GET", "api/projects", params=params)["results"]
        return next((int(row["id"]) for row in rows if row["description"] == description), None)

    def update_project(
        self, project: int, *, title: str, label_config: str, description: str = "", instructions: str = ""
    ) -> None:
        """Bring a project's texts, classes and order of work up to date."""
        with explained(f"update project {project}"):
            self._sdk.projects.update(project, **_presentation(title, label_config, description, instructions))

    def set_model_version(self, project: int, version: str) -> None:
        """Show and order by the predictions of this version, which must be there already."""
        with explained(f"show the predictions of {version} in project {project}"):
            self._sdk.projects.update(project, model_version=version, sampling=SAMPLING)

    def counts(self, project: int) -> ProjectCounts:
        row = self._request(f"count project {project}", "GET", f"api/projects/{project}")
        return ProjectCounts(
            tasks=row["task_number"],
            finished=row["finished_task_number"],
            annotations=row["total_annotations_number"],
            skipped=row["skipped_annotations_number"],
            predictions=row["total_predictions_number"],
        )

    def settings_of(self, project: int) -> ProjectSettings:
        """As they are now. LabelStudioError has status 404 where the project is gone."""
        row = self._request(f"show project {project}", "GET", f"api/projects/{project}")
        of_it = {"project": project}
        hooks = self._request(f"show the webhooks of {project}", "GET", "api/webhooks/", params=of_it)
        folders = self._request(f"show the folders of {project}", "GET", "api/storages/localfiles", params=of_it)
        return ProjectSettings(
            sampling=row["sampling"],
            model_version=row["model_version"],
            webhooks=tuple(Webhook(hook["url"], hook["is_active"], hook["headers"]) for hook in hooks),
            folders=tuple(folder["path"] for folder in folders),
        )

    def permit_local_files(self, project: int, folder: Path) -> None:
        """Let Label Studio serve the files of a folder, which must exist strictly below its document root.

        The storage record is only the permit: it is never synced, or every file would become a task.
        """
        with explained(f"permit the folder {folder} in project {project}"):
            present = self._sdk.import_storage.local.list(project=project)
            if any(storage.path == str(folder) for storage in present):
                return
            self._sdk.import_storage.local.create(
                project=project, path=str(folder), title="Burnish views: never sync", use_blob_urls=True
            )

    def ensure_webhook(self, project: int, *, url: str, secret: str) -> None:
        """Have `url` rung when an answer comes or goes, with the headers X-Burnish-Secret and X-Burnish-Project.

        The body names the action and nothing else: it is sent while the annotator waits.
        """
        wanted = {
            "actions": list(WEBHOOK_ACTIONS),
            "headers": {"X-Burnish-Secret": secret, "X-Burnish-Project": str(project)},
            "send_payload": False,
            "send_for_all_actions": False,
            "is_active": True,
        }
        with explained(f"ring {url} for project {project}"):
            present = [hook for hook in self._sdk.webhooks.list(project=str(project)) if hook.url == url]
        if not present:
            self._request(f"ring {url}", "POST", "api/webhooks/", body={"url": url, "project": project, **wanted})
        for hook in present:
            self._request(f"ring {url}", "PATCH", f"api/webhooks/{hook.id}/", body=wanted)

    # Tasks

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> list[int]:
        """Ids of the new tasks. All go in with all their predictions, or none does.

        Raises:
            LabelStudioError: Refused, or fewer were stored than sent; then what was stored is deleted again.
        """
        doing = f"import {len(tasks)} tasks into project {project}"
        stored = self._request(
            doing,
            "POST",
            f"api/projects/{project}/import",
            params={"return_task_ids": "true"},
            body=list(tasks),
            timeout=IMPORT_TIMEOUT,
        )
        ids = [int(one) for one in stored["task_ids"]]
        sent = (len(tasks), sum(len(task.get("predictions", ())) for task in tasks))
        if (stored["task_count"], stored["prediction_count"]) != sent:
            self.delete_tasks(project, ids)
            raise LabelStudioError(
                f"Label Studio stored {stored['task_count']} tasks with {stored['prediction_count']} predictions of "
                f"{sent[0]} with {sent[1]} sent to project {project}; it drops what it cannot read without a word. "
                "They were deleted again. Check that classes and label config agree, then push once more."
            )
        return ids

    def delete_tasks(self, project: int, tasks: Collection[int]) -> None:
        """Delete tasks with everything on them. For tasks that nobody has seen yet."""
        if tasks:
            body = {"project": project, "selectedItems": {"all": False, "included": list(tasks)}}
            params = {"id": "delete_tasks", "project": project}
            self._request(f"delete {len(tasks)} tasks", "POST", "api/dm/actions", params=params, body=body)

    def tasks_by_acquisition(self, project: int, acquisitions: Collection[int]) -> dict[int, int]:
        """Acquisition -> task, for those of these acquisitions that have a task."""
        found: dict[int, int] = {}
        for some in _batches(sorted(acquisitions), IDS_IN_A_QUERY):
            query = _where("data.acquisition", "in_list", "List", some)
            tasks = self._tasks(project, query, fields="task_only", include="id,data")
            found |= {task["data"]["acquisition"]: task["id"] for task in tasks}
        return found

    def acquisitions_of_unanswered(self, project: int, tasks: Collection[int]) -> dict[int, int]:
        """Task -> acquisition, for those of these tasks that nobody has answered or skipped."""
        found: dict[int, int] = {}
        for some in _batches(sorted(tasks), IDS_IN_A_QUERY):
            rows = self._tasks(
                project,
                _where("id", "in_list", "List", some),
                fields="task_only",
                include="id,data,total_annotations,cancelled_annotations",
            )
            untouched = [row for row in rows if not row["total_annotations"] and not row["cancelled_annotations"]]
            found |= {row["id"]: row["data"]["acquisition"] for row in untouched if "acquisition" in row["data"]}
        return found

    def predictions_of(self, project: int, tasks: Collection[int]) -> dict[int, int]:
        """Task -> its prediction, for those of these tasks that are there."""
        found: dict[int, int] = {}
        for some in _batches(sorted(tasks), IDS_IN_A_QUERY):
            rows = self._tasks(project, _where("id", "in_list", "List", some), fields="all", include="id,predictions")
            found |= {row["id"]: row["predictions"][0]["id"] for row in rows if row["predictions"]}
        return found

    def replace_prediction(self, project: int, prediction: int, result: Sequence[Json]) -> None:
        """Show other regions in the same prediction, at the same place in the queue.

        In place: there is no moment without one or with two, and what was begun on the old regions can be submitted,
        which Label Studio refuses where the prediction that it was begun from is deleted.
        """
        path = f"api/predictions/{prediction}/"
        self._request(f"replace prediction {prediction}", "PATCH", path, body={"project": project, "result": result})

    def rename_model(self, task: int, data: Json) -> None:
        """Replace a task's data, which name the model."""
        self._request(f"rename the model of task {task}", "PATCH", f"api/tasks/{task}/", body={"data": data})

    def task_ids(self, project: int) -> set[int]:
        """Ids of all tasks that are there: a missing one was deleted."""
        return {task["id"] for task in self._tasks(project, {}, fields="task_only", include="id")}

    def tasks_changed_since(self, project: int, since: datetime | None) -> Iterator[RemoteTask]:
        """Tasks that are new or whose annotations came, went or changed at `since` or later; all without it.

        Earliest first, by Label Studio's clock. An answer shows only after it was committed: overlap the periods.
        """
        query = {} if since is None else _where("updated_at", "greater_or_equal", "Datetime", _stamp(since))
        listed = self._tasks(
            project,
            {**query, "ordering": ["tasks:updated_at"]},
            fields="task_only",
            include="id,updated_at,total_annotations,cancelled_annotations",
        )
        for some in _batches(listed, IDS_IN_A_QUERY):
            answered = [task["id"] for task in some if task["total_annotations"] or task["cancelled_annotations"]]
            annotations = self._annotations(project, answered)
            for task in some:
                at = datetime.fromisoformat(task["updated_at"])
                yield RemoteTask(id=task["id"], updated_at=at, annotations=annotations.get(task["id"], ()))

    def _annotations(self, project: int, tasks: list[int]) -> dict[int, tuple[RemoteAnnotation, ...]]:
        if not tasks:
            return {}
        query = _where("id", "in_list", "List", tasks)
        rows = self._tasks(project, query, fields="all", include=f"id,annotations,{ANNOTATION_FIELDS}")
        return {row["id"]: tuple(RemoteAnnotation.read(one) for one in row["annotations"]) for row in rows}

    def _tasks(self, project: int, query: Json, *, fields: str, include: str) -> list[Json]:
        params = {
            "project": project,
            "query": json.dumps(query, separators=(",", ":")),
            "fields": fields,
            "include": include,
            "page_size": ALL_IN_ONE_PAGE,
        }
        tasks: list[Json] = self._request(f"list tasks of project {project}", "GET", "api/tasks", params=params)[
            "tasks"
        ]
        return tasks

    # People

    def sign_up(self, email: str, password: str) -> int:
        """The id of the person with this login, who is made if missing.

        Label Studio ignores a password given to its API, so this fills in the form behind an invitation.

        Raises:
            LabelStudioError: The person is there with another password, or the password is too weak.
        """
        users = self._request("list users", "GET", "api/users/")
        if any(user["email"].lower() == email.lower() for user in users):
            with Browser(self._url, email, password) as browser:
                return browser.user_id()
        invitation = self._request("invite a person", "GET", "api/invite")["invite_url"]
        with Browser.signing_up(self._url, invitation, email, password) as browser:
            return browser.user_id()

    def set_access(self, person: int, *, active: bool) -> None:
        """Let a person log in, or shut them out at once and free their tasks. By Burnish's own address inside."""
        doing = f"let user {person} in" if active else f"shut user {person} out"
        self._request(doing, "PUT", f"api/burnish/people/{person}", body={"active": active})

    def _request(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        body: Any = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> Any:
        """The JSON of an answer, past the SDK's models but with its token handling."""
        with explained(doing):
            response = self._http.request(
                method,
                f"{self._url.rstrip('/')}/{path}",
                params=params,
                json=body,
                headers=self._sdk._client_wrapper.get_headers(),  # noqa: SLF001  renews personal access tokens
                timeout=timeout,
            )
            response.raise_for_status()
            return response.json()


def _presentation(title: str, label_config: str, description: str, instructions: str) -> Json:
    """What is set when a project is made and kept up to date later."""
    return {
        "title": title,
        "label_config": label_config,
        "description": description,
        "expert_instruction": instructions,
        "show_instruction": bool(instructions),
        "sampling": SAMPLING,
    }


def _where(field: str, operator: str, kind: str, value: Any) -> Json:
    item = {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
    return {"filters": {"conjunction": "and", "items": [item]}}


def _stamp(at: datetime) -> str:
    """The one spelling that does not make Label Studio answer 500."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
