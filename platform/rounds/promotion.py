"""The champion of a project, made by hand; every change is a Promotion."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from catalog.models import Project
from rounds.models import ModelVersion, Promotion


@transaction.atomic
def promote(model: ModelVersion, *, by: User | None, reason: str) -> Promotion:
    """The record that `model` is now its project's champion; the latest one where it already was."""
    project = _locked(model.project)
    replaced = project.models.filter(champion=True).first()
    if replaced == model:
        return model.promotions.latest("pk")
    project.models.filter(champion=True).update(champion=False)
    project.models.filter(pk=model.pk).update(champion=True)
    return Promotion.objects.create(model=model, replaced=replaced, by=by, reason=reason)


@transaction.atomic
def roll_back(project: Project, *, by: User | None) -> Promotion:
    """The record that the champion before the present one is champion again; twice goes two back.

    Raises:
        ValidationError: there is none.
    """
    line = succession(_locked(project))
    if len(line) < 2:
        raise ValidationError(f"{project} has no earlier champion to roll back to: promote a model instead.")
    present, before = line[-1], line[-2]
    return promote(before, by=by, reason=f"rolled back from {present}")


def succession(project: Project) -> list[ModelVersion]:
    """The champions that stand behind each other, the present one last; promoting the one before is going back."""
    line: list[ModelVersion] = []
    for one in Promotion.objects.filter(model__project=project).select_related("model").order_by("pk"):
        if line[-2:-1] == [one.model]:
            line.pop()
        else:
            line.append(one.model)
    return line


def _locked(project: Project) -> Project:
    return Project.objects.select_for_update().get(pk=project.pk)
