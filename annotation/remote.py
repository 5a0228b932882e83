"""What Label Studio tells us, typed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True)
class RemoteUser:
    id: int
    email: str


@dataclass(frozen=True)
class ProjectCounts:
    """What Label Studio counts in a project. A skipped task is not a finished one."""

    tasks: int
    finished: int
    annotations: int
    skipped: int
    predictions: int


@dataclass(frozen=True)
class Webhook:
    url: str
    is_active: bool
    headers: dict[str, str]


@dataclass(frozen=True)
class ProjectSettings:
    """How a project is set up, which people there can change. `folders`: those whose files it may show."""

    sampling: str
    model_version: str
    webhooks: tuple[Webhook, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class RemoteAnnotation:
    """The state of an annotation. `lead_time`: seconds; `parent_prediction`: what it was made from, if anything."""

    id: int
    result: tuple[dict[str, Any], ...]
    completed_by: int | None
    created_at: datetime
    updated_at: datetime
    lead_time: float | None
    was_cancelled: bool
    parent_prediction: int | None

    @classmethod
    def read(cls, row: dict[str, Any]) -> Self:
        """From the JSON of a task."""
        return cls(
            id=row["id"],
            result=tuple(row["result"]),
            completed_by=row["completed_by"],
            created_at=datetime.fromisoformat(row["created_at"]),
            updated_at=datetime.fromisoformat(row["updated_at"]),
            lead_time=row["lead_time"],
            was_cancelled=row["was_cancelled"],
            parent_prediction=row["parent_prediction"],
        )


@dataclass(frozen=True)
class RemoteTask:
    """A task with all its annotations, skipped ones included. `updated_at`: at the moment of the listing."""

    id: int
    updated_at: datetime
    annotations: tuple[RemoteAnnotation, ...]
