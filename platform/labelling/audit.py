"""What Label Studio holds of a campaign, counted against our rows."""

from annotation.client import LabelStudio
from labelling import studio
from labelling.models import LabellingProject, RemoteAnnotation, Task
from rounds.models import Campaign


def counts(campaign: Campaign) -> tuple[dict[str, int], dict[str, int]]:
    """Tasks, predictions and annotations: (in our rows, in Label Studio). Every task was pushed with one prediction."""
    project = LabellingProject.objects.get(campaign=campaign)
    tasks = Task.objects.filter(project=project, deleted_at=None)
    answers = RemoteAnnotation.objects.filter(task__project=project, skipped=False, label__isnull=False)
    ours = {"tasks": tasks.count(), "predictions": tasks.count(), "annotations": answers.count()}
    with studio.client() as remote:
        return ours, _remote(remote, project)


def _remote(remote: LabelStudio, project: LabellingProject) -> dict[str, int]:
    if project.remote_id is None:
        return {"tasks": 0, "predictions": 0, "annotations": 0}
    row = remote.counts(project.remote_id)
    return {"tasks": row.tasks, "predictions": row.predictions, "annotations": row.annotations}
