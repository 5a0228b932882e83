"""What Label Studio holds for us, and what came back. `rounds` never hears of these rows."""

from django.conf import settings
from django.db import models

from catalog.models import Label
from rounds.models import Acquisition, Campaign, Prediction


class LabellingProject(models.Model):
    """The Label Studio project of a campaign."""

    campaign = models.OneToOneField(Campaign, models.CASCADE, related_name="labelling_project")
    remote_id = models.PositiveIntegerField(
        unique=True, null=True, blank=True, help_text="Its number in Label Studio; empty until it could be made there."
    )
    # Reconciliation reads tasks changed since here, with an overlap: Label Studio's clock, not ours.
    reconciled_to = models.DateTimeField(null=True, blank=True)
    polled_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, help_text="Of the latest push or poll; empty when it went well.")

    def __str__(self) -> str:
        return f"Label Studio project {self.remote_id or '(not made yet)'}"


class Task(models.Model):
    """An acquisition in people's hands."""

    project = models.ForeignKey(LabellingProject, models.CASCADE, related_name="tasks")
    acquisition = models.OneToOneField(Acquisition, models.CASCADE, related_name="task")
    remote_id = models.PositiveIntegerField()
    prediction = models.ForeignKey(
        Prediction, models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Whose mask people are shown; empty where they begin blank.",
    )  # fmt: skip
    pushed_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="Seen gone in Label Studio.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("project", "remote_id"), name="one_row_per_remote_task")]

    def __str__(self) -> str:
        return f"task {self.remote_id}"


class RemoteAnnotation(models.Model):
    """The last state seen of an annotation: which Label it became, or why it became none."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="annotations")
    remote_id = models.PositiveIntegerField(unique=True)
    updated_at = models.DateTimeField(help_text="Label Studio's.")
    label = models.ForeignKey(Label, models.SET_NULL, null=True, blank=True, related_name="+")
    skipped = models.BooleanField(default=False)
    problem = models.TextField(
        blank=True, help_text="Why it could not be read: shown to people, nothing else disturbed."
    )

    def __str__(self) -> str:
        return f"annotation {self.remote_id}"


class Annotator(models.Model):
    """A person (or a campaign's script) with a login in both systems."""

    # Protected: whoever is to go is made inactive, in both systems; a deleted row would leave the other login open.
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, related_name="annotator")
    remote_id = models.PositiveIntegerField(unique=True, help_text="The user's id in Label Studio.")
    let_in = models.BooleanField(default=True, help_text="Whether Label Studio lets them in, as far as it was told.")

    def __str__(self) -> str:
        return str(self.user)
