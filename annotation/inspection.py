"""How a project is set up in Label Studio, read back: people with an account there can change all of it."""

from dataclasses import dataclass
from typing import Any

from annotation.client import LabelStudio


@dataclass(frozen=True)
class Webhook:
    url: str
    is_active: bool
    headers: dict[str, str]


@dataclass(frozen=True)
class ProjectSettings:
    """`folders`: those whose files it may show."""

    sampling: str
    model_version: str
    webhooks: tuple[Webhook, ...]
    folders: tuple[str, ...]


def project_settings(remote: LabelStudio, project: int) -> ProjectSettings:
    """What a project is set to now. Raises LabelStudioError, with status 404 where it is gone."""
    row = _get(remote, f"api/projects/{project}", {})
    hooks = _get(remote, "api/webhooks/", {"project": project})
    folders = _get(remote, "api/storages/localfiles", {"project": project})
    return ProjectSettings(
        sampling=row["sampling"],
        model_version=row["model_version"],
        webhooks=tuple(Webhook(hook["url"], hook["is_active"], hook["headers"]) for hook in hooks),
        folders=tuple(storage["path"] for storage in folders),
    )


def _get(remote: LabelStudio, path: str, params: dict[str, int]) -> Any:
    return remote._request(f"show {path}", "GET", path, params=params)  # noqa: SLF001  a part of the client, in a file of its own
